"""What a step of the script's own loop says of itself: the loss that it took the gradient of, what its function
returned, what `train_on_batch` measured.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf


def _numbers(result: Any) -> Mapping[str, Any]:
    """What of a result are numbers."""
    if _is_number(result):
        return {"loss": result}
    if isinstance(result, Mapping):
        return {str(name): value for name, value in result.items() if _is_number(value)}
    if isinstance(result, list | tuple) and all(map(_is_number, result)):
        return {f"loss_{index}": value for index, value in enumerate(result, 1)}
    return {}


def read(used: Sequence[Any], results: Mapping[int, Any]) -> dict[str, float]:
    """The metrics of a step by all that was used in it; several have their names before. Waits for the device."""
    metrics: dict[str, float] = {}
    for one in used:
        result = results.get(id(one))
        if isinstance(one, keras.Model):
            result = one.get_metrics_result()
        before = f"{name_of(one)}/" if len(used) > 1 else ""
        for name, value in _numbers(result).items():
            with contextlib.suppress(TypeError, ValueError, tf.errors.OpError):
                metrics[before + name] = float(value)
    return metrics


def name_of(used: Any) -> str:
    """Of an optimizer, a model or a function."""
    return str(getattr(used, "name", None) or getattr(used, "__name__", type(used).__name__))


def _is_number(value: Any) -> bool:
    if isinstance(value, tf.Tensor):
        return bool(value.shape.rank == 0 and value.dtype.is_floating)
    return isinstance(value, float | np.floating)
