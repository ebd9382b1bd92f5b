"""Metrics as functions of sums over rows: so that a thousand resamples of the rows are one product of matrices.

A resample says how often each row was drawn. Whatever a metric needs of the rows it has in columns, of which only the
sums count: those of a resample are `draws @ columns`, for all resamples at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

Array = np.ndarray[Any, np.dtype[Any]]
# Of the sums of many samples, a row each, to the metric's value in each.
OfSums = Callable[[Array], Array]


@dataclass(frozen=True)
class Family:
    """Metrics of the same columns. `columns` has a row for each item: dense, or a sparse matrix of SciPy's."""

    columns: Any
    metrics: Mapping[str, OfSums]

    def values(self) -> dict[str, float]:
        """Of the items themselves."""
        sums = np.asarray(self.columns.sum(axis=0), dtype=np.float64).reshape(1, -1)
        return {name: float(of(sums)[0]) for name, of in self.metrics.items()}


def scattered(width: int, parts: Sequence[tuple[Array, Array]]) -> Any:
    """A sparse matrix of so many columns: each of `parts` has a value a row, and the column where it stands."""
    rows = np.arange(len(parts[0][0]))
    values, places = (np.concatenate([part[side] for part in parts]) for side in (0, 1))
    found = sparse.csr_array((values, (np.tile(rows, len(parts)), places)), shape=(len(rows), width))
    found.eliminate_zeros()
    return found


def column(index: int, by: int = 0) -> OfSums:
    """The mean of what a column has, which is weighted; the weights are in the column `by`."""
    return lambda sums: ratio(sums[:, index], sums[:, by])


def ratio(above: Array, below: Array) -> Array:
    """NaN where there is nothing to divide by."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(below > 0, above / below, np.nan)


def linear(name: str, value: float, slopes: Array) -> Family:
    """A metric that is no function of few sums, as it is near the sample: its value, and how it changes when a row
    counts more (the infinitesimal jackknife). `slopes` times the rows' weights sum to 0.

    B. Efron, The Jackknife, the Bootstrap and Other Resampling Plans (1982), chapter 6; for the area under a curve it
    is what DeLong, DeLong and Clarke-Pearson (1988) compare curves by.
    """
    return Family(slopes.reshape(-1, 1), {name: lambda sums: value + sums[:, 0]})
