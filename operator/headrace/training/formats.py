"""What came of the formats that a model was to be exported in, as a condition of the TrainingJob (pure).

One format that was made is enough for a version: the others' reasons stand beside it, where whoever wants to serve one
of them looks.
"""

from __future__ import annotations

from datetime import datetime

from headrace.api.trainingjob import Condition, ConditionStatus, TrainingJob
from headrace.kube.plan import Event, EventType
from headrace.training.record import Record
from headrace.training.states import Reason

CONDITION = "FormatsExported"


def formats_exported(job: TrainingJob, record: Record, now: datetime) -> Condition:
    """Whether all of `output.formats` were made; False names those that were not, with the launcher's reasons."""
    assert job.spec.output is not None
    made = set(record.model.formats) if record.model is not None else set()
    wanted = [format_.value for format_ in job.spec.output.formats]
    missing = [name for name in wanted if name not in made]
    note = f"; {record.model_note}" if record.model_note else ""
    if missing:
        holds, reason = ConditionStatus.FALSE, Reason.SOME_FORMATS_FAILED
        exported = ", ".join(name for name in wanted if name in made) or "none"
        message = f"exported: {exported}; not exported: {', '.join(missing)}{note}"
    else:
        holds, reason = ConditionStatus.TRUE, Reason.ALL_FORMATS_EXPORTED
        message = f"exported: {', '.join(wanted)}{note}"
    return Condition(
        type=CONDITION,
        status=holds,
        reason=reason,
        message=message,
        observed_generation=job.metadata.generation,
        last_transition_time=now.replace(microsecond=0),
    )


def event_of(condition: Condition) -> tuple[Event, ...]:
    """A format that is missing is told once, when the training ends."""
    if condition.status is ConditionStatus.TRUE:
        return ()
    return (Event(EventType.WARNING, condition.reason, condition.message),)
