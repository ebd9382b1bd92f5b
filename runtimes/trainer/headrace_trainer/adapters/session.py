"""What one run of the script has in common: the settings, the way out, and the count of what has been trained."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from headrace_trainer.adapters.checkpoint import Checkpoint, FinishedFit, Position, Snapshot, Writer
from headrace_trainer.adapters.messages import Messages
from headrace_trainer.adapters.models import Models, Scores
from headrace_trainer.adapters.script_files import ScriptFile, ScriptFiles
from headrace_trainer.adapters.settings import Settings
from headrace_trainer.adapters.stopping import Stop


class Loop(Protocol):
    """What the script's own loops are asked."""

    def resumed_step(self) -> int:
        """The step after which the next one goes on."""

    def steps(self, start: int, stop: int) -> Iterable[int]:
        """The iterations of the next one, from where it goes on."""

    def fit_begins(self) -> None:
        """The one before it is over."""

    def advice(self, error: BaseException) -> str:
        """What the author can do about an error that ends the script, where it comes of a resume; else empty."""

    def save_now(self) -> None:
        """The script asks whether to stop, and will: it may not come to another step."""

    def script_ends(self) -> None:
        """What comes now is no training."""


class _NoLoop:
    def resumed_step(self) -> int:
        return 0

    def steps(self, start: int, stop: int) -> Iterable[int]:
        return range(start, stop)

    def fit_begins(self) -> None:
        pass

    def advice(self, error: BaseException) -> str:
        return ""

    def save_now(self) -> None:
        pass

    def script_ends(self) -> None:
        pass


@dataclass
class Session:
    """One run of the script. `checkpoint` is the one to resume from, `writer` is None where none are written."""

    settings: Settings
    messages: Messages
    stop: Stop
    writer: Writer | None
    checkpoint: Checkpoint | None
    files: ScriptFiles
    began: float = field(default_factory=time.time)  # the job's first attempt, in seconds since 1970
    fits: int = 0
    steps_of_finished_fits: int = 0
    fit_steps: int = 0
    batch_steps: int = 0
    custom_iterations: list[Any] = field(default_factory=list)
    models: Models = field(default_factory=Models)
    fits_metrics: set[str] = field(default_factory=set)  # the names that fits have given to their callbacks
    unkept: list[str] = field(default_factory=list)  # names of what fits that are skipped had kept, and is not restored
    lost: str = ""  # what is not as it was in the attempt before: the data, or the end of a fit
    loop: Loop = field(default_factory=_NoLoop)
    text: Any = None  # what the script has said of its model as one that writes text, where it has
    last_checkpoint: float | None = None  # when it was taken, by the monotonic clock; or when training began
    unsaved_end: tuple[Snapshot, int] | None = None  # of the last fit, and how many had ended then
    has_parallel_fits: bool = False  # nothing that is counted of them is the same in the next attempt
    keeps_own: bool = False  # the script makes its checkpoints itself
    checkpoint_is_own: bool = False  # and so it did in the attempt that is gone on from

    def lose(self, why: str) -> None:
        """From here on no resume is exact; the first cause is told."""
        self.lost = self.lost or why

    @property
    def is_saved(self) -> bool:
        """Whether checkpoints are taken of what it trains."""
        return self.settings.checkpoint_directory is not None and not self.keeps_own and not self.has_parallel_fits

    @property
    def has_named_here(self) -> bool:
        """Whether the script has named its model since training went on, and not only on the way there, as it did in
        the attempt before.
        """
        return self.models.named_at == self.files.times_put_back

    def capture_files(self) -> tuple[ScriptFile, ...] | None:
        """The script's files as they are now, for a checkpoint; None where there is no room for their copies."""
        self.unsaved_end = None  # there is something newer, and the copies of its files may go
        try:
            if self.models.kept is not None and self.has_named_here:
                self.models.kept.write(self.files.root)
            return self.files.capture(forget_older=self.writer is not None and not self.writer.is_busy)
        except OSError as error:
            self.messages.warn("checkpoint", f"none was taken: the script's files could not be copied: {error}")
            return None

    def is_checkpoint_due(self, now: float) -> bool:
        """Whether the interval is over since the last one, whichever fit that was of."""
        if self.last_checkpoint is None:
            self.last_checkpoint = now
        return now - self.last_checkpoint >= self.settings.checkpoint_interval_seconds

    def mark_end(self, position: Position) -> bool:
        """A fit, or a loop, has ended here, and its end is kept: that makes a checkpoint, which `hand_over_end` saves.
        False where there is no room for the script's files.
        """
        files = self.capture_files()
        if files is None:
            return False
        number = self.steps_of_finished_fits + position.step + position.fit + 1
        self.unsaved_end = Snapshot(number, position, True, {}, {}, files=files), position.fit + 1
        return True

    def hand_over_end(self) -> None:
        """Where nothing is trained any more, the end of the last fit is saved before its time. In any thread."""
        end, self.unsaved_end = self.unsaved_end, None
        if end is not None and self.writer is not None and self.is_saved:
            self.writer.submit(*end)

    def logs(self, metric: str) -> bool:
        """Whether the launcher logs this name, of what was sent to it in this attempt or in the ones before."""
        if metric.removeprefix("eval_") in self.messages.evaluated and metric.startswith("eval_"):
            return True
        before = self.checkpoint.measured if self.checkpoint is not None and self.fits_metrics else set()
        return metric.removeprefix("epoch/") in self.fits_metrics | before

    def send_trained(self) -> bool:
        """Tells the launcher what was trained; False, and no message, when nothing was, and nothing else is meant."""
        custom_steps = sum(int(iterations.numpy()) for iterations in self.custom_iterations)
        for kind, steps in (("fit", self.fit_steps), ("train_on_batch", self.batch_steps), ("custom", custom_steps)):
            if steps:
                self.messages.send("trained", kind=kind, steps=steps)
                return True
        if self.models.is_any_meant:
            # Of a process that the script has started, or by an optimizer that nobody follows.
            self.messages.send("trained", kind="unseen", steps=0)
            return True
        return False


@dataclass
class FitRun:
    """One fit. Of `resumed` (in its middle), `finished` (skipped) and `ended_by` at most one is set: the last is how an
    exception had ended it in an earlier attempt; it is trained again, to the same end. `measured` has what each epoch
    has measured, by the fingerprint of its weights.
    """

    index: int
    model: Any
    resumed: Snapshot | None
    finished: FinishedFit | None
    ended_by: dict[str, Any] | None = None
    initial_epoch: int = 0  # as the script calls `fit`
    iterator: Any = None
    iterators_made: int = 0
    data_drew: bool = False  # random numbers in Python, while it was gone through again
    steps: int = 0
    epochs_ended: int = 0
    measured: dict[str, Scores] = field(default_factory=dict)
