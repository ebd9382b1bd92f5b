"""What the status says of the explanations that a stage Evaluate was asked for (pure).

They fail nothing: where there are none, or some are missing, that is a condition and an Event, and the gates are judged
all the same.
"""

from __future__ import annotations

from datetime import datetime

from headrace.api.trainingjob import ConditionStatus, FailureClass, TrainingJob, TrainingJobStatus
from headrace.kube.plan import Event, EventType
from headrace.training.formats import condition, with_condition
from headrace.training.states import Reason
from headrace_common.evaluation import FOLDER
from headrace_common.explanation import EXPLANATIONS
from headrace_common.protocol.report import Record

CONDITION = "Explained"
_SILENT = "the launcher does not say that it has explained anything: does its image have another release?"


_LEFT_OUT = (
    "nothing is explained, since an earlier attempt of the evaluation was killed or had too little memory: raise "
    "evaluate.resources.limits.memory, or ask for fewer samples"
)


def is_left_out(status: TrainingJobStatus) -> bool:
    """Whether an attempt of this stage may have died of its explanations: a model is to be judged in the next one. What
    an earlier stage has failed of is forgotten with its success.
    """
    failure = status.failure
    return failure is not None and failure.class_ in (FailureClass.OOM, FailureClass.KILLED)


def explained(
    job: TrainingJob, status: TrainingJobStatus, record: Record, now: datetime
) -> tuple[TrainingJobStatus, tuple[Event, ...]]:
    """The status of an evaluation that has ended well, and what happens."""
    if job.spec.evaluate is None or job.spec.evaluate.explain is None:
        return status, ()
    rows = record.evaluation.explained if record.evaluation is not None else 0
    if rows:
        found = f"{rows} rows are explained in {FOLDER}/{EXPLANATIONS} of the stage's run"
        message = f"{found}; {record.message}" if record.message else found
        holds, reason = ConditionStatus.TRUE, Reason.EXPLAINED
    else:
        message = record.message or (_LEFT_OUT if is_left_out(job.status) else _SILENT)
        holds, reason = ConditionStatus.FALSE, Reason.NOT_EXPLAINED
    told = condition(job, CONDITION, holds, reason, message, now)
    events = (Event(EventType.WARNING, reason, message[:1000]),) if record.message or not rows else ()
    return status.evolve(conditions=with_condition(status.conditions, told)), events
