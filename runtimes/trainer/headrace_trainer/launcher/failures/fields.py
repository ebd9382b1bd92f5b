"""Hints name fields of a TrainingJob by their names in a training. In a stage of preparation they are others (pure)."""

from __future__ import annotations

import re
from dataclasses import replace

from headrace_common.protocol.config import Stage
from headrace_trainer.launcher.failures.judge import Failure

_OF_ITS_OWN = re.compile(r"\bspec\.(?=(?:datasets|entrypoint|image|parameters|resources|source)\b)")


def in_fields_of(stage: Stage, failure: Failure) -> Failure:
    """The failure, with the fields of the stage in its hint."""
    if stage in (Stage.TRAIN, Stage.TUNE):
        return failure
    return replace(failure, hint=_OF_ITS_OWN.sub(f"spec.{stage}.", failure.hint))
