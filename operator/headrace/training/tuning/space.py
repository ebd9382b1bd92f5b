"""What a tuning asks for, in the protocol's words (pure)."""

from __future__ import annotations

from headrace.api.trainingjob import TrainingJobSpec
from headrace.api.tuning import Dimension
from headrace_common.protocol import tuning as protocol


def tuning_of(spec: TrainingJobSpec) -> protocol.Tuning | None:
    """None in a job that has no trials."""
    asked = spec.tuning
    if asked is None:
        return None
    names = {one.name for one in asked.space}
    return protocol.Tuning(
        metric=asked.objective.metric,
        goal=asked.objective.goal,
        sampler=asked.sampler,
        seed=asked.seed,
        space=tuple(_dimension(one) for one in asked.space),
        max_trials=asked.max_trials,
        pruner=None
        if asked.pruner is None
        else protocol.Pruner(asked.pruner.type, asked.pruner.startup_trials, asked.pruner.warmup_steps),
        first={name: value for name, value in spec.parameters.items() if name in names},
    )


def _dimension(one: Dimension) -> protocol.Dimension:
    low, high, step = (0.0 if number is None else float(number) for number in (one.min, one.max, one.step))
    return protocol.Dimension(one.name, one.type, low, high, step, one.log, one.values)
