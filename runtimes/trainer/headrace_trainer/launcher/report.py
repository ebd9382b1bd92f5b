"""What the launcher says to the outside: the /progress document and the record, made from what is known so far.

Owned by the main thread. Nothing is decided here.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from headrace_common.json_numbers import to_json
from headrace_common.protocol import PROTOCOL
from headrace_trainer.launcher import export_trial
from headrace_trainer.launcher.checkpoints import Stored
from headrace_trainer.launcher.chosen import AMBIGUOUS
from headrace_trainer.launcher.failures import Failure, Reason
from headrace_trainer.launcher.messages import ExportTrial, Resume
from headrace_trainer.launcher.metrics import MetricLog
from headrace_trainer.launcher.mlflow import Run
from headrace_trainer.launcher.model import Model
from headrace_trainer.launcher.progress import Condition, Progress, State

_SIGNIFICANT_DIGITS = 9


class Outcome(StrEnum):
    """How this worker's attempt ended, or that it did not yet."""

    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    INTERRUPTED = "Interrupted"


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
        trial = {} if self.export_trial is None else {"exportTrial": export_trial.as_json(self.export_trial)}
        return {
            "protocol": PROTOCOL,
            "state": self.state,
            **self.progress.with_times(),
            **self._results(),
            **trial,
            "conditions": {
                "tracking": self.tracking,
                "storage": Condition.BUFFERING if self.storage_is_buffering else Condition.OK,
            },
        }

    def as_record(self) -> dict[str, Any]:
        """The termination message, before it is cut to size."""
        record: dict[str, Any] = {
            "protocol": PROTOCOL,
            "outcome": self.outcome,
            "time": self.time,
            "worker": self.worker,
        }
        if self.failure is not None:
            record |= {
                "class": self.failure.failure_class,
                "reason": self.failure.reason,
                "exitCode": self.failure.exit_code,
                "message": self.failure.message,
            }
            if self.failure.hint:
                record["hint"] = self.failure.hint
            if self.failure.reason is Reason.PEER_LOST:  # null where it is not known which
                record["lostPeer"] = self.failure.lost_peer
        if self.ambiguity and self.outcome is Outcome.SUCCEEDED:
            record |= {"reason": AMBIGUOUS, "message": self.ambiguity}
        if self.log_tail and self.outcome is not Outcome.SUCCEEDED:
            record["logTail"] = self.log_tail
        if progress := self.progress.as_json():
            record["progress"] = progress
        if self.model is not None:
            record["model"] = {
                "uri": self.model.uri,
                "digest": self.model.digest,
                "formats": list(self.model.formats),
            }
            if self.model_note:
                record["modelNote"] = self.model_note
        return record | self._results()

    def _results(self) -> dict[str, Any]:
        shown: dict[str, Any] = {}
        if self.metrics.latest:
            shown["metrics"] = {name: _short(value) for name, value in self.metrics.latest.items()}
        if self.run is not None:
            shown["run"] = {"id": self.run.id, "experimentId": self.run.experiment_id}
        if (stored := self.checkpoint) is not None:
            shown["checkpoint"] = {
                "uri": stored.uri,
                "fit": stored.fit,
                "epoch": stored.epoch + 1,
                "step": stored.step,
                "time": stored.time,
            }
        if self.resume is not None:
            attempt, resume = self.resume
            shown["resume"] = {
                "attempt": attempt,
                "fit": resume.fit,
                "epoch": resume.epoch + 1,
                "step": resume.step,
                "exact": resume.exact,
                "message": resume.message[:300],
            }
        return shown


def _short(value: float) -> float | str:
    """The exact value is in MLflow; the record is small."""
    return to_json(float(f"{value:.{_SIGNIFICANT_DIGITS}g}"))
