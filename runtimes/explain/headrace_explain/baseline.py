"""What stands for "nothing is known": one row in place of a background."""

from __future__ import annotations

import numpy as np

from headrace_explain.choose import are_tokens
from headrace_explain.kind import Array, Feed


def baseline(background: Feed, pad: int) -> dict[str, Array]:
    """One row. Of numbers the background's mean at each place, of whole ones its median, of tokens the one that stands
    for none.
    """
    return {name: _of(values, pad) for name, values in background.items()}


def _of(values: Array, pad: int) -> Array:
    if are_tokens(values.shape[1:], values.dtype):
        return np.full((1, *values.shape[1:]), pad, dtype=values.dtype)
    if values.dtype.kind != "f":
        return np.median(values, axis=0, keepdims=True).round().astype(values.dtype)
    there = np.isfinite(values)
    count = there.sum(axis=0, keepdims=True)
    total = np.where(there, values, 0).sum(axis=0, keepdims=True, dtype=np.float64)
    return np.asarray(total / np.maximum(count, 1), dtype=values.dtype)
