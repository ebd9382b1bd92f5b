"""What a stage of tuning is told: which parameters there are, and what is to become better. A part of
HEADRACE_CONFIG.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

from headrace_common.protocol.fields import CannotBeDone, Fields, Scalar, wrong

PORT = 9401
E = TypeVar("E", bound=StrEnum)


class Kind(StrEnum):
    """What values a parameter has."""

    FLOAT = "Float"
    INT = "Int"
    CATEGORICAL = "Categorical"


class Goal(StrEnum):
    """Which value of the metric is the better one."""

    MAXIMIZE = "Maximize"
    MINIMIZE = "Minimize"


class Sampler(StrEnum):
    """How parameters are chosen."""

    TPE = "TPE"
    RANDOM = "Random"
    GRID = "Grid"


@dataclass(frozen=True)
class Dimension:
    """A parameter and what it may be: numbers from `low` to `high`, both included, in steps of `step` (0: any number);
    or one of `values`.
    """

    name: str
    kind: Kind
    low: float = 0.0
    high: float = 0.0
    step: float = 0.0
    log: bool = False
    values: tuple[str, ...] = ()

    @property
    def size(self) -> int | None:
        """How many values it has; None where that cannot be counted."""
        if self.kind is Kind.CATEGORICAL:
            return len(self.values)
        step = self.step or (1.0 if self.kind is Kind.INT else 0.0)
        # What decimals are in binary may be a little less than a whole number of steps.
        return None if not step else math.floor((self.high - self.low) / step + 1e-9) + 1

    def has(self, value: object) -> bool:
        """Whether a trial may have been given this value."""
        if self.kind is Kind.CATEGORICAL:
            return isinstance(value, str) and value in self.values
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return False
        if self.kind is Kind.INT and value != int(value):
            return False
        return self.low <= value <= self.high and self._is_step(value)

    def _is_step(self, value: float) -> bool:
        """Whether a whole number of steps leads to it, but for what decimals lose in binary and when they are
        written.
        """
        step = self.step or (1.0 if self.kind is Kind.INT else 0.0)
        if not step:
            return True
        off = abs(value - self.low - round((value - self.low) / step) * step)
        return off <= max(1e-8 * step, 1e-11 * max(abs(self.low), abs(value)))

    def as_json(self) -> dict[str, Any]:
        if self.kind is Kind.CATEGORICAL:
            return {"name": self.name, "type": str(self.kind), "values": list(self.values)}
        numbers = {"min": self.low, "max": self.high, "step": self.step, "log": self.log}
        return {"name": self.name, "type": str(self.kind), **numbers}


class PrunerType(StrEnum):
    """By what a trial is stopped before its end."""

    MEDIAN = "Median"


@dataclass(frozen=True)
class Pruner:
    """A trial is stopped where the best that it has reported so far is worse than the median of what those before it
    had reported by then: once `startup_trials` have ended, and after its first `warmup_steps` reports.
    """

    type: PrunerType = PrunerType.MEDIAN
    startup_trials: int = 5
    warmup_steps: int = 0

    def as_json(self) -> dict[str, Any]:
        return {"type": str(self.type), "startupTrials": self.startup_trials, "warmupSteps": self.warmup_steps}


@dataclass(frozen=True)
class Tuning:
    """`first` has the parameters of the first trial, as far as they are given. `max_trials` is how many there are to
    be; a grid may have fewer. The operator is answered at `port`.
    """

    metric: str
    goal: Goal
    sampler: Sampler
    seed: int
    space: tuple[Dimension, ...]
    max_trials: int
    first: Mapping[str, Scalar] = field(default_factory=dict)
    port: int = PORT
    pruner: Pruner | None = None

    @property
    def trials(self) -> int:
        """How many there will be."""
        sizes = [dimension.size for dimension in self.space]
        if self.sampler is not Sampler.GRID or None in sizes:
            return self.max_trials
        return min(self.max_trials, math.prod(size for size in sizes if size is not None))

    def fits(self, parameters: Mapping[str, object]) -> bool:
        """Whether these are the parameters of a trial of this space: all of them, each with a value that it may
        have.
        """
        names = {dimension.name for dimension in self.space}
        return set(parameters) == names and all(one.has(parameters[one.name]) for one in self.space)

    def as_json(self) -> dict[str, Any]:
        pruner = {} if self.pruner is None else {"pruner": self.pruner.as_json()}
        return pruner | {
            "metric": self.metric,
            "goal": str(self.goal),
            "sampler": str(self.sampler),
            "seed": self.seed,
            "maxTrials": self.max_trials,
            "space": [dimension.as_json() for dimension in self.space],
            "first": dict(self.first),
            "port": self.port,
        }


def parse_tuning(fields: Fields | None, where: str) -> Tuning | None:
    """The part of the instructions that lies at `where`. Raises NotUnderstood."""
    if fields is None:
        return None
    space = tuple(_dimension(one, where) for one in fields.objects("space"))
    if not space:
        raise CannotBeDone("tuning.space: there is nothing to tune")
    return Tuning(
        metric=fields.text("metric"),
        goal=one_of(Goal, fields.text("goal"), f"{where}.goal"),
        sampler=one_of(Sampler, fields.text("sampler"), f"{where}.sampler"),
        seed=fields.integer("seed", least=0),
        space=space,
        max_trials=fields.integer("maxTrials", least=1),
        first=fields.scalars("first"),
        port=fields.integer("port", least=1, default=PORT),
        pruner=_pruner(fields.optional("pruner"), where),
    )


def _pruner(fields: Fields | None, where: str) -> Pruner | None:
    if fields is None:
        return None
    return Pruner(
        one_of(PrunerType, fields.text("type"), f"{where}.pruner.type"),
        fields.integer("startupTrials", least=0, default=5),
        fields.integer("warmupSteps", least=0, default=0),
    )


def _dimension(fields: Fields, where: str) -> Dimension:
    name = fields.text("name")
    kind = one_of(Kind, fields.text("type"), f"{where}.space: type of {name}")
    if kind is Kind.CATEGORICAL:
        values = fields.items("values")
        if not values or not all(isinstance(value, str) for value in values):
            raise wrong(f"{where}.space: values of {name}", "a list of texts that is not empty", values)
        return Dimension(name, kind, values=tuple(values))
    low, high = fields.finite("min") or 0.0, fields.finite("max") or 0.0
    if low > high:
        raise wrong(f"{where}.space: min of {name}", f"at most max, {high}", low)
    log = fields.flag("log")
    if log and low <= 0:
        raise wrong(f"{where}.space: min of {name}", "more than 0, since log is true", low)
    return Dimension(name, kind, low, high, fields.number("step", default=0.0), log)


def one_of(known: type[E], name: str, where: str) -> E:
    """The member of this name. Raises CannotBeDone."""
    try:
        return known(name)
    except ValueError:
        raise CannotBeDone(f"{where} is {name}: this launcher knows {', '.join(known)} only") from None
