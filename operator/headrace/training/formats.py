"""What came of the formats that a model was to be exported in, as conditions of the TrainingJob (pure): of an early
trial while it trains (`Exportable`), and of the export at its end (`FormatsExported`), which takes its place.

One format that was made is enough for a version, unless `output.requiredFormats` asks for another one: the others'
reasons stand beside it, where whoever wants to serve one of them looks.
"""

from __future__ import annotations

from datetime import datetime

from headrace.api.evaluate import SERVED
from headrace.api.frameworks import FRAMEWORKS, Framework
from headrace.api.trainingjob import Condition, ConditionStatus, Evaluate, Output, TrainingJob
from headrace.kube.plan import Event, EventType
from headrace.training.states import Reason
from headrace_common.evaluation import Task
from headrace_common.protocol.parts import ExportTrial
from headrace_common.protocol.report import Record

CONDITION = "FormatsExported"
TRIAL_CONDITION = "Exportable"


def formats_of(output: Output | None, framework: Framework) -> tuple[str, ...]:
    """The formats that may come out, in the order of the spec."""
    if output is None:
        return ()
    return tuple(format_.value for format_ in output.formats or FRAMEWORKS[framework].default_formats)


def optional_of(output: Output | None, framework: Framework) -> tuple[str, ...]:
    """Those of them that nobody has asked for by name: a program that is to hand over what it has."""
    is_open = output is not None and output.formats is None and FRAMEWORKS[framework].hands_over
    return formats_of(output, framework) if is_open else ()


def formats_exported(job: TrainingJob, record: Record, now: datetime) -> Condition:
    """Whether all that was asked for was made; False names those that were not, with the launcher's reasons."""
    made = set(record.model.formats) if record.model is not None else set()
    output, framework = job.spec.output, job.spec.framework
    optional = optional_of(output, framework)
    wanted = [name for name in formats_of(output, framework) if name in made or name not in optional]
    missing = [name for name in wanted if name not in made]
    note = f"; {record.model_note}" if record.model_note else ""
    if missing:
        holds, reason = ConditionStatus.FALSE, Reason.SOME_FORMATS_FAILED
        exported = ", ".join(name for name in wanted if name in made) or "none"
        message = f"exported: {exported}; not exported: {', '.join(missing)}{note}"
    else:
        holds, reason = ConditionStatus.TRUE, Reason.ALL_FORMATS_EXPORTED
        message = f"exported: {', '.join(wanted)}{note}"
    return condition(job, CONDITION, holds, reason, message, now)


def missing_of_required(job: TrainingJob, record: Record) -> tuple[str, ...]:
    """Those of `output.requiredFormats` that were not made."""
    made = record.model.formats if record.model is not None else ()
    required = job.spec.output.required_formats if job.spec.output is not None else ()
    return tuple(format_.value for format_ in required if format_.value not in made)


def format_to_judge(evaluate: Evaluate, made: tuple[str, ...]) -> str | None:
    """The format that the stage Evaluate runs, empty where its own program decides; None where it was not made."""
    if evaluate.task is Task.SCRIPT and evaluate.format is None:
        return ""
    wanted = (evaluate.format,) if evaluate.format is not None else SERVED
    return next((str(name) for name in wanted if name in made), None)


def exportable(job: TrainingJob, trial: ExportTrial, now: datetime) -> Condition:
    """Whether the formats can be made of the model that is being trained, as far as a trial tells."""
    required = job.spec.output.required_formats if job.spec.output is not None else ()
    needed = [format_.value for format_ in required if format_.value in trial.failed]
    end = f"; no version will be registered: output.requiredFormats has {', '.join(needed)}" if needed else ""
    holds, reason = (
        (ConditionStatus.FALSE, Reason.EXPORT_TRIAL_FAILED)
        if trial.failed
        else (ConditionStatus.TRUE, Reason.EXPORT_TRIAL_PASSED)
    )
    return condition(job, TRIAL_CONDITION, holds, reason, f"{trial.message}{end}", now)


def with_condition(conditions: tuple[Condition, ...], new: Condition) -> tuple[Condition, ...]:
    """The conditions with this one in the place of an older one, whose time it keeps where nothing has changed."""
    old = next((condition for condition in conditions if condition.type == new.type), None)
    if old is not None and old.status is new.status:
        new = new.evolve(last_transition_time=old.last_transition_time)
    return (*without_condition(conditions, new.type), new)


def without_condition(conditions: tuple[Condition, ...], kind: str) -> tuple[Condition, ...]:
    """The conditions of all other types."""
    return tuple(condition for condition in conditions if condition.type != kind)


def condition(
    job: TrainingJob, kind: str, holds: ConditionStatus, reason: str, message: str, now: datetime
) -> Condition:
    """A condition that has just come to hold, or not to."""
    return Condition(
        type=kind,
        status=holds,
        reason=reason,
        message=message,
        observed_generation=job.metadata.generation,
        last_transition_time=now.replace(microsecond=0),
    )


def event_of(condition: Condition) -> tuple[Event, ...]:
    """A format that is missing is told once."""
    if condition.status is ConditionStatus.TRUE:
        return ()
    return (Event(EventType.WARNING, condition.reason, condition.message),)
