"""The paired bootstrap: two models answered the same rows, and each resample of these gives a difference.

    B. Efron, R. Tibshirani, An Introduction to the Bootstrap (1993), chapters 13 and 16

Two bounds are looked at, the percentile's and the normal one, and the cautious one is told: a model that is as good as
the other is to be stopped in no more than 1 - confidence of all cases. The normal bound has Student's distribution,
since the spread is estimated from as many rows as there are. The percentile of the bound that a gate is judged by is
the order statistic that is on the safe side of what chance does to so many resamples; an interval, which is only shown,
has the plain one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse, stats

from headrace_common.evaluation import LEAST_UNITS, Better
from headrace_trainer.evaluation.statistics.families import Family, OfSums

Array = np.ndarray[Any, np.dtype[Any]]

_MOST_CELLS = 8_000_000
_MOST_DENSE = 64
_DIGITS = 12
_SAFE = 1.645  # of what chance does to an order statistic, one-sided: 95 %


@dataclass(frozen=True)
class Difference:
    """`value` and its two-sided interval are the candidate's value less the baseline's. `worse_by` is the one-sided
    lower bound of how much worse the candidate is; negative where it may be better. NaN where it cannot be told.
    """

    value: float
    low: float
    high: float
    worse_by: float


UNKNOWN = Difference(np.nan, np.nan, np.nan, np.nan)


def replicated(family: Family, units: Array, draws: Array) -> dict[str, Array]:
    """The value of each metric in each resample; `units` says of each item which column of `draws` it is drawn by."""
    columns = sparse.csr_array(family.columns)
    items, width = columns.shape
    joined = sparse.csr_array((np.ones(items), (units, np.arange(items))), shape=(draws.shape[1], items)) @ columns
    sums_of = joined.toarray() if width <= _MOST_DENSE else joined
    step = max(1, _MOST_CELLS // max(width, 1))
    found: dict[str, list[Array]] = {name: [] for name in family.metrics}
    for start in range(0, len(draws), step):
        sums = _product(draws[start : start + step], sums_of)
        for name, of in family.metrics.items():
            found[name].append(_values(of, sums))
    return {name: np.concatenate(parts) for name, parts in found.items()}


def _product(draws: Array, columns: Any) -> Array:
    if sparse.issparse(columns):
        return np.asarray((columns.T @ draws.T).T, dtype=np.float64)
    return np.asarray(draws @ columns)


def _values(of: OfSums, sums: Array) -> Array:
    with np.errstate(all="ignore"):
        return np.asarray(of(sums), dtype=np.float64)


def degrees(slopes: Array, strata: Array) -> float:
    """Of how many degrees of freedom the variance of a linear metric is estimated, where each of the `strata` (classes)
    adds its own part of it: two positives among a thousand rows are two, whatever the thousand say. Of two strata it is
    the smaller one's: how large its part is would be estimated by it alone.

    B. L. Welch, The generalization of "Student's" problem when several different population variances are involved
    (1947); F. E. Satterthwaite (1946).
    """
    _, of, counts = np.unique(strata, return_inverse=True, return_counts=True)
    if len(counts) == 2:
        return float(max(counts.min() - 1, 1))
    parts = np.bincount(of.reshape(-1), slopes.reshape(-1) ** 2, minlength=len(counts))
    below = float((parts**2 / np.maximum(counts - 1, 1)).sum())
    return float(parts.sum() ** 2 / below) if below > 0 else float(max(len(slopes) - 1, 1))


def difference(
    candidate: Array,
    baseline: Array,
    observed: float,
    better: Better,
    confidence: float,
    units: int,
    freedom: float = np.inf,
) -> Difference:
    """From the values of both in the same resamples; `observed` is the difference that was measured, and `units` of how
    many rows or groups; `freedom` where the spread tells less than so many would.
    """
    if not np.isfinite(observed):
        return UNKNOWN
    found = candidate - baseline
    found = found[np.isfinite(found)]
    if units < LEAST_UNITS or len(found) < len(candidate) / 2:
        return Difference(observed, np.nan, np.nan, np.nan)
    freedom = max(1.0, min(freedom, units - 1))
    spread = float(np.std(found, ddof=1)) * np.sqrt((freedom + 1) / freedom)
    both = (1 + confidence) / 2
    low, high = (sign * _least(sign * found, sign * observed, spread, both, freedom, safe=0.0) for sign in (1.0, -1.0))
    sign = -1.0 if better is Better.GREATER else 1.0
    worse_by = _least(sign * found, sign * observed, spread, confidence, freedom)
    return Difference(*(round(float(number), _DIGITS) for number in (observed, low, high, worse_by)))


def _least(
    found: Array, observed: float, spread: float, confidence: float, freedom: float, safe: float = _SAFE
) -> float:
    """What the difference is at least, with this confidence."""
    share = 1 - confidence
    place = share * len(found) - safe * np.sqrt(len(found) * share * confidence)
    percentile = np.partition(found, int(max(place, 0)))[int(max(place, 0))]
    normal = observed - float(stats.t.ppf(confidence, freedom)) * spread
    return float(min(percentile, normal))
