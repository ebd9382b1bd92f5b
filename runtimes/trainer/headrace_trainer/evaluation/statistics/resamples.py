"""The bootstrap's draws: which rows are drawn together, and how often each is in a resample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

REPLICATES = 2000
MOST_UNITS = 4096


@dataclass(frozen=True)
class Units:
    """Which unit each item is of. `of` counts from 0 to `count`; `independent` says which of the items go together,
    before units were joined.
    """

    of: Array
    count: int
    independent: Array

    def spread(self, items: Array) -> int:
        """How many units, as they were before they were joined, the items are of."""
        return len(np.unique(self.independent[items]))

    def effective(self, items: Array, weights: Array) -> float:
        """As many units of one weight tell as much of a mean: fewer, where few of them weigh most.

        L. Kish, Survey Sampling (1965).
        """
        of = np.bincount(np.unique(self.independent[items], return_inverse=True)[1].reshape(-1), weights[items])
        return float(of.sum() ** 2 / (of**2).sum())


def units(items: int, groups: Array | None, seed: int) -> Units:
    """A unit an item, or a group, of items that are not independent of one another. Where there are more than
    MOST_UNITS, some that chance has chosen are drawn together: of independent units that leaves the variance of sums as
    it is, and bounds time and memory whatever there is to judge.
    """
    independent = np.arange(items) if groups is None else np.unique(groups, return_inverse=True)[1].reshape(-1)
    count = int(independent.max()) + 1 if items else 0
    if count <= MOST_UNITS:
        return Units(independent, count, independent)
    joined = np.random.default_rng(seed).permutation(count) % MOST_UNITS
    return Units(joined[independent], MOST_UNITS, independent)


def draws(count: int, seed: int, replicates: int = REPLICATES) -> Array:
    """How often each of `count` units is in each resample, a row a resample."""
    random = np.random.default_rng(seed)
    found = np.empty((replicates, count), dtype=np.float64)
    step = max(1, 4_000_000 // max(count, 1))
    for start in range(0, replicates, step):
        rows = min(step, replicates - start)
        drawn = random.integers(0, count, size=(rows, count)) + np.arange(rows)[:, None] * count
        found[start : start + rows] = np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count)
    return found
