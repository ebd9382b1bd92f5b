"""Which stage an attempt is of."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from headrace_common.protocol import config
from headrace_trainer.launcher.stages.evaluate import Evaluating
from headrace_trainer.launcher.stages.kind import Stage, Surroundings
from headrace_trainer.launcher.stages.prepare import Preparing
from headrace_trainer.launcher.stages.train import Training
from headrace_trainer.launcher.stages.tune import Tuning

_STAGES: Mapping[config.Stage, Callable[[Surroundings], Stage]] = {
    config.Stage.PREPARE: Preparing,
    config.Stage.TRAIN: Training,
    config.Stage.TUNE: Tuning,
    config.Stage.EVALUATE: Evaluating,
}


def stage_of(around: Surroundings) -> Stage:
    """The stage that the configuration names."""
    return _STAGES[around.config.stage](around)
