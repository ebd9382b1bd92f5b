"""Integrated gradients (Sundararajan et al., 2017): (x - b) times the mean gradient on the straight way from b to x.

The mean is taken by Gauss and Legendre's rule. How far the sum is from f(x) - f(b) says whether the steps were enough.
"""

from __future__ import annotations

import numpy as np

from headrace_explain.asking import Asking, batch_rows
from headrace_explain.kind import Array, DType, Feed, Gradient, NotExplainable

_MOST_STEPS = 128
_LEAST_STEPS = 8
# What a model computes on the way is kept for the way back: much more than its inputs.
_MOST_AT_ONCE = 16


def steps(budget: int) -> int:
    """Raises NotExplainable where they would be too few to mean anything."""
    if budget <= _LEAST_STEPS:
        raise NotExplainable(
            f"integrated gradients need a budget of {_LEAST_STEPS + 1} at least, and it is {budget}: raise it"
        )
    return min(budget - 1, _MOST_STEPS)


def check(dtypes: dict[str, DType]) -> None:
    whole = [name for name, dtype in dtypes.items() if dtype.kind != "f"]
    if whole:
        raise NotExplainable(
            f"the input {', '.join(whole)} does not take broken numbers, so that nothing can change by a little: use "
            "the method Auto, Occlusion or Shapley"
        )


def attributions(
    asking: Asking, gradient: Gradient, row: Feed, empty: Feed, target: int, count: int
) -> dict[str, Array]:
    """Of one row (each array has one); `empty` is the baseline."""
    places, weights = np.polynomial.legendre.leggauss(count)
    places, weights = (places + 1) / 2, weights / 2
    means = {name: np.zeros(values.shape[1:]) for name, values in row.items()}
    at_once = min(batch_rows(row), _MOST_AT_ONCE)
    for first in range(0, count, at_once):
        asking.look_at_clock()
        here = slice(first, first + at_once)
        batch = {name: _between(empty[name], values, places[here]) for name, values in row.items()}
        found = gradient(batch, asking.output, np.full(len(places[here]), target))
        asking.evaluations += len(places[here])
        for name in means:
            slopes = np.asarray(found[name], dtype=np.float64)
            if not np.isfinite(slopes).all():
                raise NotExplainable(f"the gradient by the input {name} is not finite: use the method Occlusion")
            means[name] += np.tensordot(weights[here], slopes, axes=1)
    return {name: means[name] * (np.asarray(row[name][0], np.float64) - empty[name][0]) for name in row}


def _between(start: Array, end: Array, places: Array) -> Array:
    at = places.reshape(-1, *[1] * (end.ndim - 1)).astype(end.dtype)
    return np.asarray(start + at * (end - start), dtype=end.dtype)
