"""What the launcher's record and its answer on /progress have in common, a value each: as the launcher writes it, and
as the operator reads it from JSON of unknown origin (None, or an empty one, for what is none).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headrace_common.json_numbers import to_json
from headrace_common.protocol.claims import DIGEST, JOB, count, metric, names, number, text

_MAX_ID = 64


@dataclass(frozen=True)
class RunReference:
    """An MLflow run as the launcher names it."""

    id: str
    experiment_id: str

    def as_json(self) -> dict[str, Any]:
        return {"id": self.id, "experimentId": self.experiment_id}

    @staticmethod
    def parse(data: Any) -> RunReference | None:
        if not isinstance(data, dict) or not (run_id := text(data.get("id"))):
            return None
        return RunReference(run_id[:_MAX_ID], text(data.get("experimentId"))[:_MAX_ID])


@dataclass(frozen=True)
class ModelReference:
    """Where the exported model lies, and the sha256 digest of its manifest."""

    uri: str
    digest: str
    formats: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return {"uri": self.uri, "digest": self.digest, "formats": list(self.formats)}

    @staticmethod
    def parse(data: Any) -> ModelReference | None:
        if not isinstance(data, dict):
            return None
        uri, digest = text(data.get("uri")), text(data.get("digest"))
        if not uri or not DIGEST.fullmatch(digest):
            return None
        return ModelReference(uri, digest, names(data.get("formats")))


@dataclass(frozen=True)
class DatasetReference:
    """A dataset that a stage has prepared: where its files lie, the digest over their names and contents, how many
    there are and their size. `made_by` is the job that made it, as NAMESPACE/NAME; `reused`: an earlier one did, and
    nothing was run now.
    """

    name: str
    uri: str
    digest: str
    files: int
    bytes: int
    made_by: str
    reused: bool

    def as_json(self) -> dict[str, Any]:
        place = {"name": self.name, "uri": self.uri, "digest": self.digest}
        return {**place, "files": self.files, "bytes": self.bytes, "madeBy": self.made_by, "reused": self.reused}

    @staticmethod
    def parse(data: Any) -> DatasetReference | None:
        if not isinstance(data, dict):
            return None
        name, uri, digest = (text(data.get(field)) for field in ("name", "uri", "digest"))
        if not name or not uri or not DIGEST.fullmatch(digest):
            return None
        files, size = (count(data.get(field)) or 0 for field in ("files", "bytes"))
        made_by = text(data.get("madeBy"))
        made_by = made_by if JOB.fullmatch(made_by) else ""
        return DatasetReference(name, uri, digest, files, size, made_by, data.get("reused") is True)


@dataclass(frozen=True)
class EvaluationReference:
    """What a stage of evaluation has judged: the digest of the model, as it was downloaded, that of the model it was
    compared with (empty: none), on how many rows, and of how many of them the answer was explained.
    """

    digest: str
    baseline_digest: str
    samples: int
    explained: int = 0

    def as_json(self) -> dict[str, Any]:
        explained = {"explained": self.explained} if self.explained else {}
        return {"digest": self.digest, "baselineDigest": self.baseline_digest, "samples": self.samples, **explained}

    @staticmethod
    def parse(data: Any) -> EvaluationReference | None:
        if not isinstance(data, dict) or not DIGEST.fullmatch(digest := text(data.get("digest"))):
            return None
        baseline = text(data.get("baselineDigest"))
        baseline = baseline if DIGEST.fullmatch(baseline) else ""
        samples, explained = (count(data.get(name)) or 0 for name in ("samples", "explained"))
        return EvaluationReference(digest, baseline, samples, explained)


@dataclass(frozen=True)
class CheckpointReference:
    """A complete checkpoint. `epoch` counts from 1, `step` over the whole fit, `time_ms` since 1970."""

    uri: str
    fit: int
    epoch: int
    step: int
    time_ms: int

    def as_json(self) -> dict[str, Any]:
        place = {"uri": self.uri, "fit": self.fit, "epoch": self.epoch, "step": self.step}
        return {**place, "time": self.time_ms}

    @staticmethod
    def parse(data: Any) -> CheckpointReference | None:
        if not isinstance(data, dict) or not (uri := text(data.get("uri"))):
            return None
        fit, epoch, step, time_ms = (count(data.get(name)) or 0 for name in ("fit", "epoch", "step", "time"))
        return CheckpointReference(uri, fit, epoch, step, time_ms)


@dataclass(frozen=True)
class Resume:
    """From where an attempt went on: the attempt whose checkpoint it is, the fit, its epoch (from 1) and step. `exact`
    is None where that cannot be told.
    """

    attempt: int
    fit: int
    epoch: int
    step: int
    exact: bool | None
    message: str

    def as_json(self) -> dict[str, Any]:
        place = {"attempt": self.attempt, "fit": self.fit, "epoch": self.epoch, "step": self.step}
        return {**place, "exact": self.exact, "message": self.message}

    @staticmethod
    def parse(data: Any) -> Resume | None:
        if not isinstance(data, dict) or (attempt := count(data.get("attempt"))) is None:
            return None
        fit, epoch, step = (count(data.get(name)) or 0 for name in ("fit", "epoch", "step"))
        exact = data.get("exact")
        return Resume(attempt, fit, epoch, step, exact if isinstance(exact, bool) else None, text(data.get("message")))


@dataclass(frozen=True)
class ExportTrial:
    """What came of trying the export in the middle of a fit; `failed` are the formats that cannot be made."""

    failed: tuple[str, ...]
    message: str

    def as_json(self) -> dict[str, Any]:
        return {"failed": list(self.failed), "message": self.message}

    @staticmethod
    def parse(data: Any) -> ExportTrial | None:
        if not isinstance(data, dict) or not (message := text(data.get("message"))):
            return None
        return ExportTrial(names(data.get("failed")), message)


@dataclass(frozen=True)
class LostPeer:
    """A worker that is gone; `index` is None where it is not known which."""

    index: int | None


@dataclass(frozen=True)
class Progress:
    """How far training has come, in the fit of the script (the first is 0) that is under way. None where it is not
    known. `epoch` counts from 1, `step` over the whole fit. Of Spark the steps are its stages; `executors` are there,
    `executors_lost` were.
    """

    percent: float | None = None
    eta_seconds: int | None = None
    epoch: int | None = None
    epochs: int | None = None
    step: int | None = None
    steps: int | None = None
    fit: int | None = None
    steps_per_second: float | None = None
    executors: int | None = None
    executors_lost: int | None = None

    def as_json(self) -> dict[str, Any]:
        """For the record, which stays when the time that is left does not."""
        if self == Progress():
            return {}
        known = {"fit": self.fit, "epoch": self.epoch, "epochs": self.epochs, "step": self.step}
        of_spark = {"executors": self.executors, "executorsLost": self.executors_lost}
        return {
            "percent": self.percent,
            **{name: value for name, value in known.items() if value is not None},
            "steps": self.steps,
            **{name: value for name, value in of_spark.items() if value is not None},
        }

    def with_times(self) -> dict[str, Any]:
        """For /progress: with what is left."""
        shown = self.as_json()
        if not shown:
            return {}
        if self.steps_per_second is not None:
            shown["stepsPerSecond"] = self.steps_per_second
        return {**shown, "etaSeconds": self.eta_seconds}

    @staticmethod
    def parse(data: Any) -> Progress:
        if not isinstance(data, dict):
            return Progress()
        percent, rate = number(data.get("percent")), number(data.get("stepsPerSecond"))
        return Progress(
            percent=None if percent is None else min(max(percent, 0.0), 100.0),
            eta_seconds=count(data.get("etaSeconds")),
            epoch=count(data.get("epoch")),
            epochs=count(data.get("epochs")),
            step=count(data.get("step")),
            steps=count(data.get("steps")),
            fit=count(data.get("fit")),
            steps_per_second=None if rate is None or rate < 0 else rate,
            executors=count(data.get("executors")),
            executors_lost=count(data.get("executorsLost")),
        )


def metrics_json(metrics: Mapping[str, float]) -> dict[str, float | str]:
    """Metrics by name; NaN and infinities by theirs, since JSON has no such numbers."""
    return {name: to_json(value) for name, value in metrics.items()}


def parse_metrics(data: Any) -> dict[str, float]:
    """Metrics by name, whatever the names are."""
    if not isinstance(data, dict):
        return {}
    values = {name: metric(value) for name, value in data.items()}
    return {name: value for name, value in values.items() if value is not None}
