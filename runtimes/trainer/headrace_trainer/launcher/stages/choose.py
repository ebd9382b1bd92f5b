"""Which stage an attempt is of."""

from __future__ import annotations

from headrace_trainer.launcher.stages.kind import Stage, Surroundings
from headrace_trainer.launcher.stages.train import Training


def stage_of(around: Surroundings) -> Stage:
    """The stage that the configuration names."""
    return Training(around)
