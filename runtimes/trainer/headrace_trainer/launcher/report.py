"""What the launcher says to the outside: the /progress document and the record, made from what is known so far.

Owned by the main thread. Nothing is decided here.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Any

from headrace_common.explanation import SUBJECT
from headrace_common.protocol import parts
from headrace_common.protocol.parts import (
    CheckpointReference,
    DatasetReference,
    EvaluationReference,
    LostPeer,
    ModelReference,
    RunReference,
)
from headrace_common.protocol.reasons import AMBIGUOUS_MODEL, Reason
from headrace_common.protocol.report import Condition, Live, Outcome, Record, State
from headrace_trainer.launcher.failures.judge import Failure
from headrace_trainer.launcher.messages import ExportTrial, Resume
from headrace_trainer.launcher.model import export_trial
from headrace_trainer.launcher.model.upload import Model
from headrace_trainer.launcher.progress import Progress
from headrace_trainer.launcher.store.checkpoints import Stored
from headrace_trainer.launcher.texts import one_line
from headrace_trainer.launcher.tracking.metrics import MetricLog
from headrace_trainer.launcher.tracking.mlflow import Run

_SIGNIFICANT_DIGITS = 9
_MAX_MESSAGE = 300


def milliseconds() -> int:
    """Now, since 1970."""
    return time.time_ns() // 1_000_000


@dataclass
class Report:
    """All that is said of one worker. `time` is when what `outcome` says happened."""

    worker: int
    state: State = State.PREPARING
    progress: Progress = field(default_factory=Progress)
    metrics: MetricLog = field(default_factory=MetricLog)
    outcome: Outcome = Outcome.RUNNING
    time: int = field(default_factory=milliseconds)
    failure: Failure | None = None
    log_tail: str = ""
    run: Run | None = None
    checkpoint: Stored | None = None
    resume: tuple[int, Resume] | None = None  # the attempt that the checkpoint is from
    model: Model | None = None
    model_note: str = ""
    export_trial: ExportTrial | None = None
    dataset: DatasetReference | None = None
    evaluation: EvaluationReference | None = None
    warnings: dict[str, str] = field(default_factory=dict)  # by their subjects
    ambiguity: str = ""  # several models could be meant
    tracking: Condition = Condition.OK
    storage_is_buffering: bool = False

    def conclude(self, outcome: Outcome, failure: Failure | None) -> None:
        """The outcome is known now; the script's own word about the time of its failure cannot be later."""
        now = milliseconds()
        happened = failure.time if failure is not None and failure.time is not None else now
        self.outcome, self.failure, self.time = outcome, failure, min(happened, now)

    def as_progress(self) -> dict[str, Any]:
        """The document of GET /progress."""
        trial = self.export_trial
        return Live(
            state=self.state,
            progress=self.progress.now(),
            metrics=self._metrics(),
            run=self._run(),
            checkpoint=self._checkpoint(),
            resume=self._resume(),
            conditions={
                "tracking": self.tracking,
                "storage": Condition.BUFFERING if self.storage_is_buffering else Condition.OK,
            },
            export_trial=None if trial is None else export_trial.told(trial),
        ).as_json()

    def as_record(self) -> dict[str, Any]:
        """The termination message, before it is cut to size."""
        succeeded = self.outcome is Outcome.SUCCEEDED
        record = Record(
            outcome=self.outcome,
            time_ms=self.time,
            worker=self.worker,
            log_tail="" if succeeded else self.log_tail,
            progress=self.progress.now(),
            metrics=self._metrics(),
            run=self._run(),
            model=None
            if self.model is None
            else ModelReference(self.model.uri, self.model.digest, tuple(self.model.formats)),
            model_note="" if self.model is None else one_line(self.model_note),
            checkpoint=self._checkpoint(),
            resume=self._resume(),
            dataset=self.dataset,
            evaluation=self.evaluation,
        )
        if (failure := self.failure) is not None:
            record = replace(
                record,
                failure_class=failure.failure_class,
                reason=failure.reason,
                exit_code=failure.exit_code if failure.script_code is None else failure.script_code,
                message=one_line(failure.message),
                hint=one_line(failure.hint),
                lost_peer=LostPeer(failure.lost_peer) if failure.reason is Reason.PEER_LOST else None,
            )
        if self.ambiguity and succeeded:
            record = replace(record, reason=AMBIGUOUS_MODEL, message=one_line(self.ambiguity))
        if succeeded and self.dataset is not None and self.warnings:
            told = "; ".join(f"{subject}: {message}" for subject, message in self.warnings.items())
            record = replace(record, message=one_line(told))
        if succeeded and self.evaluation is not None and (unexplained := self.warnings.get(SUBJECT)):
            record = replace(record, message=one_line(unexplained))
        return record.as_json()

    def _metrics(self) -> dict[str, float]:
        return {name: _short(value) for name, value in self.metrics.latest.items()}

    def _run(self) -> RunReference | None:
        return None if self.run is None else RunReference(self.run.id, self.run.experiment_id)

    def _checkpoint(self) -> CheckpointReference | None:
        stored = self.checkpoint
        if stored is None:
            return None
        return CheckpointReference(stored.uri, stored.fit, stored.epoch + 1, stored.step, stored.time)

    def _resume(self) -> parts.Resume | None:
        if self.resume is None:
            return None
        attempt, resume = self.resume
        message = one_line(resume.message)[:_MAX_MESSAGE]
        return parts.Resume(attempt, resume.fit, resume.epoch + 1, resume.step, resume.exact, message)


def _short(value: float) -> float:
    """The exact value is in MLflow; the record is small."""
    return float(f"{value:.{_SIGNIFICANT_DIGITS}g}")
