"""How far the training is: told more often than anybody asks for it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from headrace_common.protocol import parts
from headrace_trainer.launcher.messages import Epoch, Fit, Replay, Step
from headrace_trainer.launcher.spark.seen import Seen

_WINDOW_MS = 10 * 60 * 1000


class StepRate:
    """Steps a second as measured over the last ten minutes, from the first step's end on: building the model is in
    the first.

    Validation and checkpoints between steps count, as they do for the time that is left.

    """

    def __init__(self) -> None:
        self._seen: deque[tuple[int, int]] = deque()

    def add(self, step: int, time: int) -> None:
        """A step ended at `time`, in milliseconds."""
        if self._seen and (step <= self._seen[-1][0] or time < self._seen[-1][1]):
            return
        self._seen.append((step, time))
        while len(self._seen) > 2 and time - self._seen[0][1] > _WINDOW_MS:
            self._seen.popleft()

    @property
    def per_second(self) -> float | None:
        """None until two steps were seen."""
        if len(self._seen) < 2:
            return None
        (first_step, first_time), (last_step, last_time) = self._seen[0], self._seen[-1]
        return 1000.0 * (last_step - first_step) / max(last_time - first_time, 1)


@dataclass
class Progress:
    """Where the fit under way is. Epochs count from 1 here, as people do."""

    fit: int | None = None
    epoch: int | None = None
    epochs: int | None = None
    first_epoch: int = 0
    step: int | None = None
    steps_per_epoch: int | None = None
    all_steps: int | None = None
    told_steps: int | None = None  # by a followed script itself
    spark: Seen | None = None  # then its stages are the steps
    rate: StepRate = field(default_factory=StepRate)

    def begin(self, message: Fit) -> None:
        """A fit begins."""
        self.fit, self.epochs, self.steps_per_epoch = message.fit, message.epochs, message.steps_per_epoch
        self.all_steps, self.first_epoch = message.steps, message.first_epoch
        self.epoch, self.step, self.rate = message.first_epoch + 1, 0, StepRate()

    def advance(self, message: Step | Epoch) -> None:
        """A step or an epoch ended."""
        if message.fit != self.fit:  # a loop of the user's own
            self.fit, self.epochs, self.steps_per_epoch, self.rate = message.fit, None, None, StepRate()
            self.all_steps, self.first_epoch = None, 0
        self.epoch, self.step = message.epoch + 1, message.step
        self.rate.add(message.step, message.time)
        if isinstance(message, Epoch) and self.steps_per_epoch is None and self.epochs is not None:
            self.steps_per_epoch = message.step // max(1, self.epoch - self.first_epoch)

    def pass_over(self, message: Replay) -> None:
        """Data is gone through again: that says nothing about the speed of the training."""
        self.epoch, self.step = message.epoch + 1, message.step

    @property
    def steps(self) -> int | None:
        """The fit's total, where it is known."""
        if self.all_steps is not None:
            return self.all_steps
        if self.epochs is None or not self.steps_per_epoch:
            return self.told_steps
        return (self.epochs - self.first_epoch) * self.steps_per_epoch

    def now(self) -> parts.Progress:
        """What is known."""
        if self.spark is not None:
            return parts.Progress(
                percent=self.spark.percent,
                step=self.spark.stages_done,
                steps=self.spark.stages,
                executors=self.spark.executors,
                executors_lost=self.spark.executors_lost,
            )
        if self.fit is None or self.step is None:
            return parts.Progress()
        rate, steps = self.rate.per_second, self.steps
        left = None if steps is None else max(0, steps - self.step)
        return parts.Progress(
            percent=None if not steps else round(min(100.0, 100.0 * self.step / steps), 1),
            eta_seconds=None if left is None or not rate else round(left / rate),
            epoch=self.epoch,
            epochs=self.epochs,
            step=self.step,
            steps=steps,
            fit=self.fit,
            steps_per_second=None if rate is None else round(rate, 3),
        )
