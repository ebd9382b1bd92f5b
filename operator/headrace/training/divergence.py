"""Whether a training has diverged: its loss is no number any more (pure).

Only losses count: a metric of the user's own may have reasons to be NaN.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from headrace_common.evaluation import OF_JOB

HINT = (
    "try a smaller learning rate or gradient clipping (clipnorm of the optimizer), and look for NaN and extreme values "
    "in the data"
)


def divergence(metrics: Mapping[str, float]) -> str:
    """What tells that the training has diverged, such as `loss is NaN`; empty where nothing does."""
    return ", ".join(f"{name} is {_name(value)}" for name, value in sorted(metrics.items()) if _tells(name, value))


def _tells(name: str, value: float) -> bool:
    if name.startswith(OF_JOB):  # measured afterwards: no training goes by it
        return False
    plain = name.rpartition("/")[2]
    return (plain == "loss" or plain.endswith("_loss")) and not math.isfinite(value)


def _name(value: float) -> str:
    return "NaN" if math.isnan(value) else "infinite"
