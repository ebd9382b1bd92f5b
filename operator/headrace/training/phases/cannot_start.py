"""Pods of an attempt cannot start, or cannot be made: that is told and waited for, or ends the attempt (pure)."""

from __future__ import annotations

from datetime import timedelta

from headrace.api.trainingjob import FailureClass, State
from headrace.clock import shown
from headrace.kube.plan import Event, EventType, Plan
from headrace.training.deadline import start_deadline
from headrace.training.failures import Cause, Waiting, waiting_for
from headrace.training.observed import Job
from headrace.training.phases.failed import failed
from headrace.training.phases.waiting import NO_TIME_LIMIT, unless_told, with_advice
from headrace.training.states import Reason
from headrace.training.step import POLL_RUNNING, Step
from headrace.training.view import View

# The Job controller makes pods at once; after this long something keeps it from it.
PODS_MADE_WITHIN = timedelta(seconds=3)


def what_keeps_pods(view: View, batch: Job) -> Waiting | None:
    """The worst of what keeps the attempt's pods from starting; None when nothing does."""
    return waiting_for(view.pods, view.now) or _missing(view, batch)


def _missing(view: View, batch: Job) -> Waiting | None:
    """The Job controller could not make all the pods, and says so in an Event only."""
    wanted, there, refusal = view.part.strategy.workers, len(view.pods), view.observed.refusal
    # A pod that was there and is gone is another matter: that fails the Job.
    is_late = batch.started_at is not None and view.now >= batch.started_at + PODS_MADE_WITHIN
    if not refusal or there >= wanted or not is_late:
        return None
    message = f"{there} of {wanted} pods of Job {batch.name} were created: {refusal}"
    return Waiting(FailureClass.CONFIG, Reason.PODS_REFUSED, message, "")


def cannot_start(view: View, batch: Job, waiting: Waiting) -> Step:
    """Until the start deadline where there is one, or not at all where waiting helps nobody."""
    job, now, attempt = view.job, view.now, view.status.attempt
    assert attempt is not None
    since = max(filter(None, (batch.started_at, attempt.started_at)), default=now)
    limit = start_deadline(job.spec, waiting.failure_class, waiting.message)
    ends = since + timedelta(seconds=limit) if limit is not None else None
    left = (ends - now).total_seconds() if ends is not None else POLL_RUNNING
    if waiting.hopeless or left <= 0:
        cause = Cause(waiting.failure_class, waiting.reason, waiting.message, now, waiting.pod)
        return failed(view, cause, still_alive=batch)
    state = State.QUEUED if waiting.failure_class is FailureClass.SCHEDULING else State.STARTING
    until = NO_TIME_LIMIT if ends is None else f"the TrainingJob fails at {shown(ends)} if this lasts"
    message = with_advice(job, waiting.message, waiting.reason, until, waiting.pod)
    status = view.status.evolve(state=state, reason=waiting.reason, message=message[:1024])
    about = f"pod {waiting.pod}: " if waiting.pod else ""
    event = Event(EventType.WARNING, waiting.reason, f"{about}{waiting.message[:700]}")
    events = unless_told(view.status, status, event)
    return Step(Plan(events=events, requeue_after=min(POLL_RUNNING, max(left, 0.5))), status)
