"""Numbers as JSON has them, between a script's process, the launcher, the operator and MLflow.

JSON knows neither NaN nor infinities. They travel as the texts that protobuf's JSON form has for them, which is what
MLflow takes and answers: a metric that is NaN is to be told as NaN, not left out.
"""

from __future__ import annotations

import math
from typing import Any

_NAMES = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def to_json(value: float) -> float | str:
    """The number, or its name where JSON has no number for it."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def from_json(value: Any) -> float | None:
    """The number that a JSON value stands for, or None where it is none."""
    if isinstance(value, str):
        return _NAMES.get(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return None
