"""What a job says while it waits, whatever for: what is wrong, until when, and what to do about it (pure)."""

from __future__ import annotations

from headrace.api.trainingjob import TrainingJob, TrainingJobStatus
from headrace.kube.plan import Event
from headrace.training.hints import hint_for

NO_TIME_LIMIT = "the TrainingJob waits without a time limit"


def with_advice(job: TrainingJob, message: str, reason: str, until: str, pod: str = "") -> str:
    """What is wrong, until when the job waits, and what to do about it."""
    return "; ".join(filter(None, (message[:700], until, hint_for(job, reason, pod, message))))


def unless_told(before: TrainingJobStatus, after: TrainingJobStatus, event: Event) -> tuple[Event, ...]:
    """The Event of a status that is written anew; a status that says the same again is no event."""
    return () if (before.reason, before.message) == (after.reason, after.message) else (event,)
