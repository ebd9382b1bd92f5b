"""What the launcher tells the operator: its record, the pod's termination message that outlives it, and its answer on
GET /progress.

Both are claims of user code, which can write them too. So the reader checks types and bounds and leaves out what does
not fit; what is not a report at all gives None, and the operator falls back on what the cluster itself says. What a
later launcher adds is left alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from headrace_common.protocol import PROTOCOL
from headrace_common.protocol.claims import count, integer, tail, text
from headrace_common.protocol.parts import (
    CheckpointReference,
    DatasetReference,
    EvaluationReference,
    ExportTrial,
    LostPeer,
    ModelReference,
    Progress,
    Resume,
    RunReference,
    metrics_json,
    parse_metrics,
)

_REASON = re.compile(r"[A-Z][A-Za-z0-9]{0,63}")
_MAX_STATE = 32


class Outcome(StrEnum):
    """How a worker's attempt ended, or that it did not yet."""

    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    INTERRUPTED = "Interrupted"


class State(StrEnum):
    """What the launcher is at."""

    PREPARING = "Preparing"
    INSTALLING = "Installing"
    RESUMING = "Resuming"
    TRAINING = "Training"
    EVALUATING = "Evaluating"
    EXPORTING = "Exporting"
    UPLOADING = "Uploading"
    FINISHED = "Finished"


class Condition(StrEnum):
    """How it stands with what the launcher needs around it."""

    OK = "Ok"
    BUFFERING = "Buffering"
    RUN_DELETED = "RunDeleted"


@dataclass(frozen=True)
class Record:
    """One worker's record. `time_ms`, since 1970, is when what `outcome` says happened; class and reason are those of
    `reasons`, or what another release has; `lost_peer` is there where a peer was lost.
    """

    outcome: Outcome
    time_ms: int
    worker: int | None = None
    failure_class: str = ""
    reason: str = ""
    exit_code: int | None = None
    message: str = ""
    hint: str = ""
    log_tail: str = ""
    lost_peer: LostPeer | None = None
    progress: Progress = field(default_factory=Progress)
    metrics: Mapping[str, float] = field(default_factory=dict)
    run: RunReference | None = None
    model: ModelReference | None = None
    model_note: str = ""
    checkpoint: CheckpointReference | None = None
    resume: Resume | None = None
    dataset: DatasetReference | None = None
    evaluation: EvaluationReference | None = None

    def as_json(self) -> dict[str, Any]:
        """The termination message, before it is cut to size: what is known."""
        known = {
            "worker": self.worker,
            "class": self.failure_class or None,
            "reason": self.reason or None,
            "exitCode": self.exit_code,
            "message": self.message or None,
            "hint": self.hint or None,
        }
        record = {"protocol": PROTOCOL, "outcome": str(self.outcome), "time": self.time_ms, **_without_none(known)}
        if self.lost_peer is not None:
            record["lostPeer"] = self.lost_peer.index
        more = {
            "logTail": self.log_tail or None,
            "progress": self.progress.as_json() or None,
            "model": None if self.model is None else self.model.as_json(),
            "modelNote": self.model_note or None,
        }
        made = {} if self.dataset is None else {"dataset": self.dataset.as_json()}
        made |= {} if self.evaluation is None else {"evaluation": self.evaluation.as_json()}
        return record | _without_none(more) | _results(self) | made


@dataclass(frozen=True)
class Live:
    """What the launcher answers on /progress right now. `state` is one of State, and `conditions` are Conditions of
    tracking and storage, or what another release has.
    """

    state: str
    progress: Progress
    metrics: Mapping[str, float]
    run: RunReference | None
    checkpoint: CheckpointReference | None
    resume: Resume | None
    conditions: Mapping[str, str]
    export_trial: ExportTrial | None = None

    def as_json(self) -> dict[str, Any]:
        """The document: what is known."""
        return {
            "protocol": PROTOCOL,
            "state": str(self.state),
            **self.progress.with_times(),
            **_results(self),
            **({} if self.export_trial is None else {"exportTrial": self.export_trial.as_json()}),
            "conditions": {name: str(value) for name, value in self.conditions.items()},
        }


def parse_record(message: str) -> Record | None:
    """The record in a termination message, or None where there is none (a log tail, nothing, another protocol)."""
    if not message.lstrip().startswith("{"):
        return None
    try:
        data = json.loads(message)
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict) or data.get("protocol") != PROTOCOL:
        return None
    try:
        outcome = Outcome(text(data.get("outcome")))
    except ValueError:
        return None
    time_ms = count(data.get("time"))
    if time_ms is None:
        return None
    reason = text(data.get("reason"))
    return Record(
        outcome=outcome,
        time_ms=time_ms,
        worker=count(data.get("worker")),
        failure_class=text(data.get("class")),
        reason=reason if _REASON.fullmatch(reason) else "",
        exit_code=integer(data.get("exitCode")),
        message=text(data.get("message")),
        hint=text(data.get("hint")),
        log_tail=tail(data.get("logTail")),
        lost_peer=LostPeer(count(data["lostPeer"])) if "lostPeer" in data else None,
        progress=Progress.parse(data.get("progress")),
        metrics=parse_metrics(data.get("metrics")),
        run=RunReference.parse(data.get("run")),
        model=ModelReference.parse(data.get("model")),
        model_note=text(data.get("modelNote")),
        checkpoint=CheckpointReference.parse(data.get("checkpoint")),
        resume=Resume.parse(data.get("resume")),
        dataset=DatasetReference.parse(data.get("dataset")),
        evaluation=EvaluationReference.parse(data.get("evaluation")),
    )


def parse_live(data: Any) -> Live | None:
    """What /progress answered, from its JSON; None where it is not of the protocol."""
    if not isinstance(data, dict) or data.get("protocol") != PROTOCOL:
        return None
    conditions = data.get("conditions")
    return Live(
        state=text(data.get("state"))[:_MAX_STATE],
        progress=Progress.parse(data),
        metrics=parse_metrics(data.get("metrics")),
        run=RunReference.parse(data.get("run")),
        checkpoint=CheckpointReference.parse(data.get("checkpoint")),
        resume=Resume.parse(data.get("resume")),
        conditions={name: value[:_MAX_STATE] for name, value in conditions.items() if isinstance(value, str)}
        if isinstance(conditions, dict)
        else {},
        export_trial=ExportTrial.parse(data.get("exportTrial")),
    )


def _results(told: Record | Live) -> dict[str, Any]:
    """What both say in the same words."""
    results = {
        "metrics": metrics_json(told.metrics) or None,
        "run": None if told.run is None else told.run.as_json(),
        "checkpoint": None if told.checkpoint is None else told.checkpoint.as_json(),
        "resume": None if told.resume is None else told.resume.as_json(),
    }
    return _without_none(results)


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
