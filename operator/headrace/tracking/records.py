"""What Headrace reads out of MLflow, as values. Ids and versions are strings, as MLflow spells them."""

import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from headrace_common.tags import DIGEST_TAG, SYSTEM_METRICS


class Permission(StrEnum):
    """What a grant of MLflow's basic-auth app allows. EDIT on an experiment: log runs; READ on a model: see it."""

    READ = "READ"
    EDIT = "EDIT"


class GrantedOn(StrEnum):
    EXPERIMENT = "experiment"
    REGISTERED_MODEL = "registered_model"


class RunStatus(StrEnum):
    RUNNING = "RUNNING"
    SCHEDULED = "SCHEDULED"
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    KILLED = "KILLED"


@dataclass(frozen=True)
class Experiment:
    id: str
    name: str
    artifact_location: str
    deleted: bool = False

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> "Experiment":
        return cls(
            id=found["experiment_id"],
            name=found["name"],
            artifact_location=found.get("artifact_location", ""),
            deleted=found.get("lifecycle_stage") == "deleted",
        )


@dataclass(frozen=True)
class Run:
    """`metrics` holds the last value of each metric of the training, without those of the system; times are
    milliseconds since 1970.
    """

    id: str
    experiment_id: str
    status: str
    artifact_uri: str
    start_time: int = 0
    end_time: int = 0
    deleted: bool = False
    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> "Run":
        info, data = found["info"], found.get("data", {})
        return cls(
            id=info["run_id"],
            experiment_id=info["experiment_id"],
            status=info.get("status", RunStatus.RUNNING),
            artifact_uri=info.get("artifact_uri", ""),
            start_time=int(info.get("start_time", 0)),
            end_time=int(info.get("end_time", 0)),
            deleted=info.get("lifecycle_stage") == "deleted",
            metrics={
                metric["key"]: _number(metric["value"])
                for metric in data.get("metrics", [])
                if not metric["key"].startswith(SYSTEM_METRICS)
            },
            tags=_tags(data.get("tags", [])),
        )


@dataclass(frozen=True)
class RegisteredModel:
    """`aliases` maps an alias to the version that it points at; `created` in milliseconds since 1970."""

    name: str
    created: int = 0
    tags: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> "RegisteredModel":
        return cls(
            name=found["name"],
            created=int(found.get("creation_timestamp", 0)),
            tags=_tags(found.get("tags", [])),
            aliases={entry["alias"]: str(entry["version"]) for entry in found.get("aliases", [])},
        )


@dataclass(frozen=True)
class ModelVersion:
    """`source` is where the artifact lies, `digest` the identity of its bytes (empty: not registered by Headrace)."""

    model: str
    version: str
    source: str
    run_id: str = ""
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        return self.tags.get(DIGEST_TAG, "")

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> "ModelVersion":
        return cls(
            model=found["name"],
            version=str(found["version"]),
            source=found.get("source", ""),
            run_id=found.get("run_id", ""),
            description=found.get("description", ""),
            tags=_tags(found.get("tags", [])),
        )


@dataclass(frozen=True)
class Notes:
    """What a version is given beside its identity, when it is made."""

    tags: Mapping[str, str] = field(default_factory=dict)
    description: str = ""


# Tags that the operator alone writes and reads.
# Of a version: what the stage Evaluate has measured of it (JSON), the run that has, and the one format that was run.
EVALUATION_TAG = "headrace.evaluation"
EVALUATION_RUN_TAG = "headrace.evaluation.run"
EVALUATION_FORMAT_TAG = "headrace.evaluation.format"
# Tags that the operator alone writes and reads. Of a version that a person has to approve: the state, who decided, when
# and why.
APPROVAL_TAG = "headrace.approval"
APPROVAL_BY_TAG = "headrace.approval.by"
APPROVAL_AT_TAG = "headrace.approval.at"
APPROVAL_REASON_TAG = "headrace.approval.reason"
GATE_TAG = "headrace.gate"
PROMOTION_TAG_PREFIX = "headrace.promotion."
ROLLOUT_TAG = "headrace.rollout"
REASON_TAG = "headrace.rollout.reason"
DIFFERENCE_TAG = "headrace.signature.difference"  # from the version that served when a rollout of this one was refused


def _number(value: float | str) -> float:
    """A metric's value. MLflow answers NaN by name, and its SQL store keeps an infinity as the largest float."""
    number = float(value)
    return math.copysign(math.inf, number) if abs(number) == sys.float_info.max else number


def _tags(found: Iterable[Mapping[str, str]]) -> dict[str, str]:
    return {tag["key"]: tag.get("value", "") for tag in found}
