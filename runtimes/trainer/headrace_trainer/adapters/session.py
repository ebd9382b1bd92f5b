"""What one run of the script has in common: the settings, the way out, and the count of what has been trained."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from headrace_trainer.adapters.checkpoint import Checkpoint, FinishedFit, Snapshot, Writer
from headrace_trainer.adapters.messages import Messages
from headrace_trainer.adapters.models import Models, Scores
from headrace_trainer.adapters.script_files import ScriptFile, ScriptFiles
from headrace_trainer.adapters.settings import Settings
from headrace_trainer.adapters.stopping import Stop


@dataclass
class Session:
    """One run of the script. `checkpoint` is the one to resume from, `writer` is None where none are written."""

    settings: Settings
    messages: Messages
    stop: Stop
    writer: Writer | None
    checkpoint: Checkpoint | None
    files: ScriptFiles
    fits: int = 0
    steps_of_finished_fits: int = 0
    fit_steps: int = 0
    batch_steps: int = 0
    custom_iterations: list[Any] = field(default_factory=list)
    models: Models = field(default_factory=Models)
    fits_metrics: set[str] = field(default_factory=set)  # the names that fits have given to their callbacks
    data_lost: str = ""  # why the data does not stand where the checkpoint's did

    def capture_files(self) -> tuple[ScriptFile, ...] | None:
        """The script's files as they are now, for a checkpoint; None where there is no room for their copies."""
        try:
            return self.files.capture(forget_older=self.writer is not None and not self.writer.is_busy)
        except OSError as error:
            self.messages.warn("checkpoint", f"none was taken: the script's files could not be copied: {error}")
            return None

    def logs(self, metric: str) -> bool:
        """Whether the launcher logs this name, of what was sent to it in this attempt or in the ones before."""
        if metric.removeprefix("eval_") in self.messages.evaluated and metric.startswith("eval_"):
            return True
        before = self.checkpoint.measured if self.checkpoint is not None and self.fits_metrics else set()
        return metric.removeprefix("epoch/") in self.fits_metrics | before

    def send_trained(self) -> bool:
        """Tells the launcher what was trained; False, and no message, when nothing was."""
        custom_steps = sum(int(iterations.numpy()) for iterations in self.custom_iterations)
        for kind, steps in (("fit", self.fit_steps), ("train_on_batch", self.batch_steps), ("custom", custom_steps)):
            if steps:
                self.messages.send("trained", kind=kind, steps=steps)
                return True
        return False


@dataclass
class FitRun:
    """One fit. Of `resumed` (in its middle) and `finished` (skipped) at most one is set. `measured` has
    what each epoch has measured, by the fingerprint of its weights.
    """

    index: int
    model: Any
    resumed: Snapshot | None
    finished: FinishedFit | None
    iterator: Any = None
    iterators_made: int = 0
    steps: int = 0
    epochs_ended: int = 0
    measured: dict[str, Scores] = field(default_factory=dict)
