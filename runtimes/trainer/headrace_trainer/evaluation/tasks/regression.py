"""Regression: one number a row, or several."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn import metrics

from headrace_trainer.evaluation.statistics.families import Array as Sums
from headrace_trainer.evaluation.statistics.families import Family, ratio, scattered

Array = np.ndarray[Any, np.dtype[Any]]
_STEPS = 2048  # between errors, where there are more of them


@dataclass(frozen=True)
class Predicted:
    """One model's answers: `truth` and `predicted` have a row a row, and a column a number."""

    truth: Array
    predicted: Array
    weights: Array

    def measured(self, items: Array) -> Mapping[str, float]:
        truth, said, weights = self.truth[items], self.predicted[items], self.weights[items]
        found = {
            "mean_absolute_error": metrics.mean_absolute_error(truth, said, sample_weight=weights),
            "mean_squared_error": metrics.mean_squared_error(truth, said, sample_weight=weights),
            "root_mean_squared_error": metrics.root_mean_squared_error(truth, said, sample_weight=weights),
            "mean_absolute_percentage_error": metrics.mean_absolute_percentage_error(
                truth, said, sample_weight=weights
            ),
            "median_absolute_error": metrics.median_absolute_error(truth, said, sample_weight=weights),
            "max_error": float(np.abs(truth - said).max()),
        }
        if len(items) > 1:  # nothing varies in one row
            found["r2"] = metrics.r2_score(truth, said, sample_weight=weights)
            found["explained_variance"] = metrics.explained_variance_score(truth, said, sample_weight=weights)
        return {name: float(value) for name, value in found.items()}

    def bias(self, items: Array) -> float:
        """The mean of what it says too much; below 0: too little."""
        weights = self.weights[items]
        return float(np.average((self.predicted[items] - self.truth[items]).mean(axis=1), weights=weights))

    def families(self, items: Array, wanted: Collection[str]) -> Sequence[Family]:
        truth, said, weights = self.truth[items], self.predicted[items], self.weights[items]
        return [_moments(truth, said, weights), _order(np.abs(truth - said), weights)]


def _moments(truth: Array, said: Array, weights: Array) -> Family:
    """Columns: the weight, then for each number |e|, e^2, e, |e / y|, y, y^2. Numbers are taken from their mean, so
    that large ones lose no digits.
    """
    error, centred = truth - said, truth - truth.mean(axis=0)
    relative = np.abs(error) / np.maximum(np.abs(truth), np.finfo(np.float64).eps)
    parts = (np.abs(error), error**2, error, relative, centred, centred**2)
    columns = np.concatenate([weights[:, None], *(weights[:, None] * part for part in parts)], axis=1)
    wide = truth.shape[1]

    def mean(sums: Sums, part: int) -> Sums:
        """Of each number."""
        return ratio(sums[:, 1 + part * wide : 1 + (part + 1) * wide], sums[:, :1])

    def r2(sums: Sums) -> Sums:
        return _explained(mean(sums, 1), mean(sums, 5) - mean(sums, 4) ** 2)

    def explained(sums: Sums) -> Sums:
        return _explained(mean(sums, 1) - mean(sums, 2) ** 2, mean(sums, 5) - mean(sums, 4) ** 2)

    return Family(
        columns,
        {
            "mean_absolute_error": lambda sums: mean(sums, 0).mean(axis=1),
            "mean_squared_error": lambda sums: mean(sums, 1).mean(axis=1),
            "root_mean_squared_error": lambda sums: np.sqrt(mean(sums, 1)).mean(axis=1),
            "mean_absolute_percentage_error": lambda sums: mean(sums, 3).mean(axis=1),
            "r2": r2,
            "explained_variance": explained,
        },
    )


def _explained(left: Sums, whole: Sums) -> Sums:
    """1 - left / whole; of a truth that does not vary 1 or 0, as scikit-learn has it."""
    varies = whole > 0
    shares = 1 - left / np.where(varies, whole, 1)
    found: Sums = np.where(varies, shares, np.where(left > 0, 0.0, 1.0)).mean(axis=1)
    return found


def _order(errors: Array, weights: Array) -> Family:
    """Of which size how many errors are; of many, in steps that hold as many each. Of several numbers the mean of
    their medians.
    """
    wide = errors.shape[1]
    levels, places = zip(*(_levels(errors[:, one]) for one in range(wide)), strict=True)
    starts = np.cumsum([0, *(len(one) for one in levels)])
    at = [(weights, start + place) for start, place in zip(starts[:-1], places, strict=True)]
    columns = scattered(int(starts[-1]), at)

    def parts(sums: Sums) -> list[tuple[Array, Sums]]:
        return [(level, sums[:, a:b]) for level, a, b in zip(levels, starts[:-1], starts[1:], strict=True)]

    return Family(
        columns,
        {
            "median_absolute_error": lambda sums: np.mean([_median(*part) for part in parts(sums)], axis=0),
            "max_error": lambda sums: np.max([_highest(*part) for part in parts(sums)], axis=0),
        },
    )


def _levels(errors: Array) -> tuple[Array, Array]:
    """The sizes that errors have, or those at the steps; and which each has."""
    values, place = np.unique(errors, return_inverse=True)
    if len(values) <= _STEPS:
        return values, place.reshape(-1)
    edges = np.unique(np.quantile(errors, np.linspace(0, 1, _STEPS + 1)[1:]))
    return edges, np.minimum(np.searchsorted(edges, errors), len(edges) - 1)


def _median(levels: Array, sums: Sums) -> Sums:
    so_far = np.cumsum(sums, axis=1)
    half = so_far[:, -1:] / 2
    lower, upper = (np.argmax(so_far >= half * (1 - 1e-12), axis=1), np.argmax(so_far > half * (1 + 1e-12), axis=1))
    found: Sums = (levels[lower] + levels[upper]) / 2
    return np.where(so_far[:, -1] > 0, found, np.nan)


def _highest(levels: Array, sums: Sums) -> Sums:
    found: Sums = levels[sums.shape[1] - 1 - np.argmax(sums[:, ::-1] > 0, axis=1)]
    return np.where(sums.sum(axis=1) > 0, found, np.nan)
