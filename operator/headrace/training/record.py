"""Reads the record that a launcher leaves as its pod's termination message (docs/reference/launcher-protocol.md).

A record is a claim of user code: everything is checked for its type and cut to a bound here, nothing is believed
because it parsed. What is not a record gives None, and the caller falls back on what the cluster itself says.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from headrace.api.scalars import METRIC_PATTERN

PROTOCOL = 1
MAX_TEXT = 1024
MAX_METRICS = 64
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_METRIC_NAME = re.compile(METRIC_PATTERN)
_MAX_METRIC_NAME = 128
_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class Outcome(StrEnum):
    """What a launcher says of its own end."""

    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    INTERRUPTED = "Interrupted"


@dataclass(frozen=True)
class RunReference:
    """An MLflow run as the launcher names it."""

    id: str
    experiment_id: str


@dataclass(frozen=True)
class ModelReference:
    """Where the exported model lies, and the sha256 digest of its manifest."""

    uri: str
    digest: str
    formats: tuple[str, ...]


@dataclass(frozen=True)
class CheckpointReference:
    """A complete checkpoint. `step` counts over the whole fit, `time_ms` since 1970."""

    uri: str
    epoch: int
    step: int
    time_ms: int


@dataclass(frozen=True)
class Resume:
    """From where an attempt went on; `exact` is None where that cannot be told."""

    attempt: int
    step: int
    exact: bool | None
    message: str


@dataclass(frozen=True)
class ExportTrial:
    """What came of trying the export in the middle of a fit; `failed` are the formats that cannot be made."""

    failed: tuple[str, ...]
    message: str


@dataclass(frozen=True)
class Progress:
    """How far training has come, in the fit of the script (the first is 0) that is under way. None where it is not
    known.
    """

    percent: float | None = None
    eta_seconds: int | None = None
    epoch: int | None = None
    epochs: int | None = None
    step: int | None = None
    steps: int | None = None
    fit: int | None = None


@dataclass(frozen=True)
class Record:
    """One launcher's record, checked and bounded."""

    outcome: Outcome
    time_ms: int
    failure_class: str = ""
    reason: str = ""
    exit_code: int | None = None
    message: str = ""
    hint: str = ""
    log_tail: str = ""
    lost_peer: bool = False
    progress: Progress = field(default_factory=Progress)
    metrics: Mapping[str, float] = field(default_factory=dict)
    run: RunReference | None = None
    model: ModelReference | None = None
    model_note: str = ""
    checkpoint: CheckpointReference | None = None
    resume: Resume | None = None


def parse_record(text: str) -> Record | None:
    """The record in a termination message, or None where there is none (a log tail, nothing, another protocol)."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict) or data.get("protocol") != PROTOCOL:
        return None
    try:
        outcome = Outcome(_text(data.get("outcome")))
    except ValueError:
        return None
    time_ms = _integer(data.get("time"))
    if time_ms is None or time_ms < 0:
        return None
    reason = _text(data.get("reason"))
    return Record(
        outcome=outcome,
        time_ms=time_ms,
        failure_class=_text(data.get("class")),
        reason=reason if re.fullmatch(r"[A-Z][A-Za-z0-9]{0,63}", reason) else "",
        exit_code=_integer(data.get("exitCode")),
        message=_text(data.get("message")),
        hint=_text(data.get("hint")),
        log_tail=_text(data.get("logTail")),
        lost_peer="lostPeer" in data,
        progress=parse_progress(data.get("progress")),
        metrics=parse_metrics(data.get("metrics")),
        run=parse_run(data.get("run")),
        model=_model(data.get("model")),
        model_note=_text(data.get("modelNote")),
        checkpoint=parse_checkpoint(data.get("checkpoint")),
        resume=parse_resume(data.get("resume")),
    )


def parse_progress(data: Any) -> Progress:
    """Progress from JSON of unknown origin; what does not fit is left out."""
    if not isinstance(data, dict):
        return Progress()
    percent = _number(data.get("percent"))
    return Progress(
        percent=None if percent is None else min(max(percent, 0.0), 100.0),
        eta_seconds=_count(data.get("etaSeconds")),
        epoch=_count(data.get("epoch")),
        epochs=_count(data.get("epochs")),
        step=_count(data.get("step")),
        steps=_count(data.get("steps")),
        fit=_count(data.get("fit")),
    )


def parse_metrics(data: Any) -> dict[str, float]:
    """Metrics by name, at most MAX_METRICS of them; NaN and infinities come by name, since JSON has no such numbers."""
    if not isinstance(data, dict):
        return {}
    numbers = ((name, parse_metric(value)) for name, value in data.items() if _is_metric_name(name))
    return dict([(name, value) for name, value in numbers if value is not None][:MAX_METRICS])


def _is_metric_name(name: str) -> bool:
    return len(name) <= _MAX_METRIC_NAME and _METRIC_NAME.fullmatch(name) is not None


def parse_metric(value: Any) -> float | None:
    """A number, or NaN and infinities by name; None for what is neither."""
    return _NOT_FINITE.get(value) if isinstance(value, str) else _number(value)


def parse_run(data: Any) -> RunReference | None:
    """A run's ids, or None."""
    if not isinstance(data, dict) or not (run_id := _text(data.get("id"))):
        return None
    return RunReference(run_id[:64], _text(data.get("experimentId"))[:64])


def parse_checkpoint(data: Any) -> CheckpointReference | None:
    """A checkpoint's place, or None."""
    if not isinstance(data, dict) or not (uri := _text(data.get("uri"))):
        return None
    return CheckpointReference(
        uri, _count(data.get("epoch")) or 0, _count(data.get("step")) or 0, _count(data.get("time")) or 0
    )


def parse_resume(data: Any) -> Resume | None:
    """From where the attempt went on, or None where it began anew."""
    if not isinstance(data, dict) or (attempt := _count(data.get("attempt"))) is None:
        return None
    exact = data.get("exact")
    return Resume(
        attempt,
        _count(data.get("step")) or 0,
        exact if isinstance(exact, bool) else None,
        _text(data.get("message")),
    )


def parse_export_trial(data: Any) -> ExportTrial | None:
    """What came of a trial of the export, or None where there was none."""
    if not isinstance(data, dict) or not (message := _text(data.get("message"))):
        return None
    return ExportTrial(_formats(data.get("failed")), message)


def _formats(names: Any) -> tuple[str, ...]:
    return tuple(_text(name)[:32] for name in names[:8]) if isinstance(names, list) else ()


def _model(data: Any) -> ModelReference | None:
    if not isinstance(data, dict):
        return None
    uri, digest = _text(data.get("uri")), _text(data.get("digest"))
    if not uri or not _DIGEST.fullmatch(digest):
        return None
    return ModelReference(uri, digest, _formats(data.get("formats")))


def _text(value: Any) -> str:
    return value[:MAX_TEXT] if isinstance(value, str) else ""


def _integer(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53 else None


def _count(value: Any) -> int | None:
    number = _integer(value)
    return number if number is not None and number >= 0 else None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
