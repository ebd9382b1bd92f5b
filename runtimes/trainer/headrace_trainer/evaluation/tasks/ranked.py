"""Areas under curves, which depend on the order of all rows: near the sample they are linear in the rows' weights.

For a class with scores s, truth y (1 or 0) and weights w, P and N being the weights of both:

    area under the ROC curve       sum over pairs w_i w_j y_i (1 - y_j) ([s_i > s_j] + [s_i = s_j] / 2) / (P N)
    average precision              sum_i w_i y_i A_i / B_i / P, where A_i = sum_k w_k y_k [s_k >= s_i]
                                                                and   B_i = sum_k w_k [s_k >= s_i]

The slopes are the derivatives by w; the values are scikit-learn's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from headrace_trainer.evaluation.statistics.families import Family, linear

Array = np.ndarray[Any, np.dtype[Any]]


def families(truth: Array, given: Array, weights: Array, classes: Sequence[int]) -> list[Family]:
    """The mean over `classes`, each against the rest; none where there is none."""
    if not classes:
        return []
    found = []
    for name, of in (("roc_auc", roc_auc), ("average_precision", average_precision)):
        parts = [of((truth == one).astype(np.float64), given[:, one], weights) for one in classes]
        value = float(np.mean([part[0] for part in parts]))
        found.append(linear(name, value, weights * np.mean([part[1] for part in parts], axis=0)))
    return found


def roc_auc(positive: Array, scores: Array, weights: Array) -> tuple[float, Array]:
    """The area, and what a row's weight changes of it."""
    place, start = _ties(scores)
    of_positive, of_negative = weights * positive, weights * (1 - positive)
    ups, downs = (np.bincount(place, part, minlength=len(start)) for part in (of_positive, of_negative))
    above, below = ups.sum(), downs.sum()
    lower = np.cumsum(downs) - downs / 2  # negatives that are lower, and half of those that are equal
    higher = above - np.cumsum(ups) + ups / 2
    of_up, of_down = lower[place] / below, higher[place] / above
    area = float((ups * lower).sum() / (above * below))
    return area, positive * (of_up - area) / above + (1 - positive) * (of_down - area) / below


def average_precision(positive: Array, scores: Array, weights: Array) -> tuple[float, Array]:
    """The same, of the area under precision and recall."""
    place, start = _ties(-scores)
    ups = np.bincount(place, weights * positive, minlength=len(start))
    every = np.bincount(place, weights, minlength=len(start))
    right, drawn, whole = np.cumsum(ups), np.cumsum(every), ups.sum()
    precision = right / np.where(drawn > 0, drawn, 1)
    area = float((ups * precision).sum() / whole)
    # A row is in A and B of every positive that comes with it or after it.
    after = _from_here(ups / np.where(drawn > 0, drawn, 1))
    against = _from_here(ups * precision / np.where(drawn > 0, drawn, 1))
    slopes = positive * (precision[place] - area + after[place]) - against[place]
    return area, slopes / whole


def _ties(scores: Array) -> tuple[Array, Array]:
    """Of each row the number of its score among the different ones, from the least; and these."""
    values, place = np.unique(scores, return_inverse=True)
    return place.reshape(-1), values


def _from_here(values: Array) -> Array:
    return np.cumsum(values[::-1])[::-1]
