"""Names and step numbers of the metrics in MLflow, made so that no (key, step) of one run means two things.

    loss                what a sampled step reports                     step: trained steps of the whole script
    epoch/loss          what an epoch ended with                        step: epochs of the whole script, from 1
    val_loss            the validation of an epoch                      step: epochs of the whole script, from 1
    eval_loss           a model.evaluate                                step: its number in the script, from 1

NaN and infinities are values like others: a metric that became NaN is NaN at its end.

A script may call fit more than once: the numbers go on. Where a fit began is in every checkpoint's manifest (`Base`),
since the attempt that goes on from it has not seen the fits before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from headrace_trainer.launcher.messages import Epoch, Evaluate, Fit, Step
from headrace_trainer.launcher.tracking.metric_keys import Keys


@dataclass(frozen=True)
class Metric:
    """One value for MLflow; `time` in milliseconds since 1970, when it was measured."""

    key: str
    value: float
    time: int
    step: int


@dataclass(frozen=True)
class Base:
    """How many steps and epochs were trained in the fits before this one."""

    steps: int = 0
    epochs: int = 0


class MetricLog:
    """Turns messages into metrics, and keeps the latest value of each plain name."""

    def __init__(self) -> None:
        self.latest: dict[str, float] = {}
        self.keys = Keys()
        self._bases: dict[int, Base] = {}
        self._first_epochs: dict[int, int] = {}
        self._fit = 0
        self._done = Base()  # of the fit under way
        self._evaluations = 0

    @property
    def base(self) -> Base:
        """Of the fit under way."""
        return self._bases.get(self._fit, Base())

    def base_of(self, fit: int) -> Base:
        """Of a fit; a fit that has not begun follows the one under way."""
        if fit in self._bases or fit <= self._fit:
            return self._bases.get(fit, Base())
        return Base(self.base.steps + self._done.steps, self.base.epochs + self._done.epochs)

    def go_on_from(self, fit: int, base: Base, after: Base) -> None:
        """A checkpoint says where its fit began, and where one that follows begins if its fit had ended."""
        self._bases[fit] = base
        self._fit, self._done = fit, Base(after.steps - base.steps, after.epochs - base.epochs)

    def begin(self, message: Fit) -> None:
        """A fit begins."""
        self._bases.setdefault(message.fit, self.base_of(message.fit))
        self._first_epochs[message.fit] = message.first_epoch
        self._fit, self._done = message.fit, Base()

    def step(self, message: Step) -> list[Metric]:
        """What a step reports; nothing to log where it only shows how far training is."""
        self._advance(message.fit, message.step, self._ended(message, 0))
        self._keep(message.metrics)
        if not message.is_logged:
            return []
        step = self.base.steps + message.step
        return [Metric(self.keys.of(name), value, message.time, step) for name, value in message.metrics.items()]

    def own_step(self, message: Step) -> list[Metric]:
        """What a followed script reports itself, at the steps that it says."""
        if not message.is_logged:
            return []
        self._keep(message.metrics)
        return [
            Metric(self.keys.of(name), value, message.time, message.step) for name, value in message.metrics.items()
        ]

    def epoch(self, message: Epoch) -> list[Metric]:
        """What an epoch ended with."""
        ended = self._ended(message, 1)
        self._advance(message.fit, message.step, ended)
        self._keep(message.metrics)
        step = self.base.epochs + ended
        return [
            Metric(self.keys.of(name, "" if name.startswith("val_") else "epoch/"), value, message.time, step)
            for name, value in message.metrics.items()
        ]

    def evaluate(self, message: Evaluate, time: int) -> list[Metric]:
        """What model.evaluate returned."""
        self._evaluations += 1
        metrics = {f"eval_{name}": value for name, value in message.metrics.items()}
        self._keep(metrics)
        return [Metric(self.keys.of(name), value, time, self._evaluations) for name, value in metrics.items()]

    def _ended(self, message: Step | Epoch, more: int) -> int:
        """How many epochs this fit has trained: a script may have it begin at a later number than 0."""
        return max(0, message.epoch + more - self._first_epochs.get(message.fit, 0))

    def _advance(self, fit: int, steps: int, epochs: int) -> None:
        if fit != self._fit:  # a loop of the user's own announces no fit
            self._bases.setdefault(fit, self.base_of(fit))
            self._fit, self._done = fit, Base()
        self._done = Base(max(self._done.steps, steps), max(self._done.epochs, epochs))

    def _keep(self, metrics: Mapping[str, float]) -> None:
        self.latest.update({self.keys.of(name): value for name, value in metrics.items()})
