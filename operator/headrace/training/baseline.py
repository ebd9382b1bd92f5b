"""The version that the stage Evaluate compares with: when it is looked up, and what the status says of it (pure).

It is resolved once, before the first attempt of the stage, and pinned: an alias that moves in the meantime changes
nothing. The first version of a model has no baseline, which is no failure: only the absolute bounds hold. Where there
are versions and none has the alias, it may be misspelt: that is warned of, and said again when the model is registered.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from headrace.api.trainingjob import (
    BaselineVersion,
    Condition,
    ConditionStatus,
    EvaluationStatus,
    Stage,
    TrainingJob,
    TrainingJobStatus,
)
from headrace.kube.plan import Event, EventType
from headrace.tracking.errors import TrackingError
from headrace.tracking.records import ModelVersion
from headrace.training.formats import condition, with_condition
from headrace.training.stages import stage_of
from headrace.training.states import Reason
from headrace_common import s3
from headrace_common.protocol.claims import DIGEST

CONDITION = "BaselineCompared"


class BaselineUnusable(TrackingError):
    """The alias points at a version that nobody can prove the bytes of."""

    reason = Reason.BASELINE_UNREADABLE


def alias_to_resolve(job: TrainingJob) -> str:
    """The alias whose version is to be found before the next attempt begins; empty where there is nothing to find."""
    evaluate, status = job.spec.evaluate, job.status
    if evaluate is None or evaluate.baseline is None or stage_of(job) is not Stage.EVALUATE:
        return ""
    return "" if _has_begun(status) else evaluate.baseline.alias


def version_of(alias: str, found: ModelVersion | None) -> BaselineVersion | None:
    """What is pinned. Raises BaselineUnusable for a version that Headrace has not registered."""
    if found is None:
        return None
    if not DIGEST.fullmatch(found.digest) or not s3.is_uri(found.source):
        missing = "does not lie in S3" if found.digest else "has no digest"
        raise BaselineUnusable(
            f"alias {alias} of model {found.model} points at version {found.version}, which {missing}: no TrainingJob "
            "has registered it"
        )
    return BaselineVersion(alias=alias, version=found.version, digest=found.digest, uri=found.source)


def pin(
    job: TrainingJob, status: TrainingJobStatus, found: BaselineVersion | None, versions: int, now: datetime
) -> tuple[TrainingJobStatus, tuple[Event, ...]]:
    """The status with which the first attempt of the stage begins, and its Events; later ones change nothing.
    `versions` is how many the model has, where none is found.
    """
    alias = alias_to_resolve(job)
    if not alias:
        return status, ()
    pinned = status.evolve(evaluation=(status.evaluation or EvaluationStatus()).evolve(baseline=found))
    if found is not None:
        return pinned, ()
    reason, kind, lacks = Reason.NO_BASELINE, EventType.NORMAL, "has no version yet"
    if versions:
        reason, kind = Reason.BASELINE_NOT_FOUND, EventType.WARNING
        count = f"{versions} versions" if versions > 1 else "1 version"
        lacks = f"has {count}, and none has the alias {alias} (evaluate.baseline)"
    message = (
        f"nothing is compared: model {_model(status)} {lacks}; of evaluate.gates only min and max are judged, and no "
        "maxRegression"
    )
    told = condition(job, CONDITION, ConditionStatus.FALSE, reason, message, now)
    return _with(pinned, told), (Event(kind, reason, message),)


@dataclass(frozen=True)
class NotCompared:
    """Why a model that a baseline was asked for is judged without one; `is_suspect` where the alias may be misspelt."""

    message: str
    is_suspect: bool


def not_compared(job: TrainingJob) -> NotCompared | None:
    """What has to be said where the model is registered: not where nothing would have been compared in any case."""
    told = next((one for one in job.status.conditions if one.type == CONDITION), None)
    evaluate = job.spec.evaluate
    if evaluate is None or told is None or told.status is not ConditionStatus.FALSE:
        return None
    is_suspect = told.reason == Reason.BASELINE_NOT_FOUND
    is_asked = any(gate.max_regression is not None for gate in evaluate.gates)
    return NotCompared(told.message, is_suspect) if is_suspect or is_asked else None


def compared(job: TrainingJob, status: TrainingJobStatus, now: datetime) -> TrainingJobStatus:
    """The status of an evaluation that has ended well."""
    baseline = status.evaluation.baseline if status.evaluation else None
    if baseline is None:
        return status
    message = f"compared with version {baseline.version} of model {_model(status)}, alias {baseline.alias}"
    return _with(status, condition(job, CONDITION, ConditionStatus.TRUE, Reason.COMPARED, message, now))


def _has_begun(status: TrainingJobStatus) -> bool:
    return status.attempt is not None and status.attempt.stage is Stage.EVALUATE


def _with(status: TrainingJobStatus, told: Condition) -> TrainingJobStatus:
    return status.evolve(conditions=with_condition(status.conditions, told))


def _model(status: TrainingJobStatus) -> str:
    return (status.model.name if status.model else None) or "spec.output.model"
