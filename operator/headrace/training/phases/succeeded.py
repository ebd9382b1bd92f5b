"""An attempt has succeeded: what that means is its stage's (pure)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from headrace.api.trainingjob import Stage
from headrace.training.phases.evaluated import evaluated
from headrace.training.phases.prepared import prepared
from headrace.training.phases.trained import trained
from headrace.training.phases.tuned import tuned
from headrace.training.step import Step
from headrace.training.view import View
from headrace_common.protocol.report import Record

_MEANS: Mapping[Stage, Callable[[View, Record], Step]] = {
    Stage.PREPARE: prepared,
    Stage.TRAIN: trained,
    Stage.TUNE: tuned,
    Stage.EVALUATE: evaluated,
}


def succeeded(view: View, record: Record) -> Step:
    """What the chief's record of a success comes to, in the stage under way."""
    return _MEANS[view.part.stage](view, record)
