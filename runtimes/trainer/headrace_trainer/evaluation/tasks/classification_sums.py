"""What classification measures, as functions of sums over rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from headrace_trainer.evaluation.statistics.families import Family, column, ratio, scattered

Array = np.ndarray[Any, np.dtype[Any]]


def confusion(truth: Array, predicted: Array, weights: Array, classes: int, one: int | None = None) -> Family:
    """What the confusion matrix tells, of which the diagonal and the two margins are enough. Precision, recall and f1
    are of the class `one`; where that is None they are means over classes: of a resample, as of a sample, over those
    that are in it.
    """

    def averaged(values: Array, sums: Array) -> Array:
        return _mean(values, _there(sums)) if one is None else values[:, one]

    def where_it_is(values: Array, sums: Array) -> Array:
        """Of rows among which the class is not, nothing can be found, nor missed."""
        return values if one is None else np.where(_true(sums)[:, one] > 0, values, np.nan)

    parts = [(weights * (truth == predicted), truth), (weights, classes + truth), (weights, 2 * classes + predicted)]
    columns = scattered(3 * classes, parts)
    return Family(
        columns,
        {
            "accuracy": lambda sums: ratio(_right(sums).sum(axis=1), _true(sums).sum(axis=1)),
            "balanced_accuracy": lambda sums: _mean(_share(_right(sums), _true(sums)), _true(sums) > 0),
            "precision": lambda sums: averaged(_share(_right(sums), _said(sums)), sums),
            "recall": lambda sums: where_it_is(averaged(_share(_right(sums), _true(sums)), sums), sums),
            "f1": lambda sums: where_it_is(averaged(_f1(sums), sums), sums),
            "f1_weighted": lambda sums: ratio((_f1(sums) * _true(sums)).sum(axis=1), _true(sums).sum(axis=1)),
            "matthews": _matthews,
        },
    )


def means(truth: Array, given: Array, weights: Array, *, top: int | None, positive: int | None) -> Family:
    """What is a mean over rows of the probabilities `given`; `positive` is one of two classes, None where there are
    more, and `top` is None where there are too few.
    """
    rows, classes = np.arange(len(truth)), given.shape[1]
    least = np.finfo(given.dtype).eps  # as scikit-learn does, of a class that was held to be impossible
    log_loss = -np.log(np.clip(given[rows, truth], least, 1 - least))
    if positive is not None:
        brier = (given[:, positive] - (truth == positive)) ** 2
    else:
        brier = ((given - np.eye(classes)[truth]) ** 2).sum(axis=1) if classes <= 64 else _brier(given, truth)
    columns = [weights, weights * log_loss, weights * brier]
    found = {"log_loss": column(1), "brier_score": column(2)}
    if top is not None:
        best = np.argsort(given, axis=1, kind="mergesort")[:, ::-1][:, :top]
        columns.append(weights * (best == truth[:, None]).any(axis=1))
        found["top_5_accuracy"] = column(3)
    return Family(np.stack(columns, axis=1), found)


def _brier(given: Array, truth: Array) -> Array:
    of_truth = given[np.arange(len(truth)), truth]
    return np.asarray((given**2).sum(axis=1) - of_truth**2 + (1 - of_truth) ** 2)


def _right(sums: Array) -> Array:
    return sums[:, : sums.shape[1] // 3]


def _true(sums: Array) -> Array:
    return sums[:, sums.shape[1] // 3 : 2 * (sums.shape[1] // 3)]


def _said(sums: Array) -> Array:
    return sums[:, 2 * (sums.shape[1] // 3) :]


def _there(sums: Array) -> Array:
    return (_true(sums) > 0) | (_said(sums) > 0)


def _share(part: Array, whole: Array) -> Array:
    """0 where there is no whole, as scikit-learn's zero_division says it."""
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1), 0.0)


def _f1(sums: Array) -> Array:
    return _share(2 * _right(sums), _true(sums) + _said(sums))


def _mean(values: Array, which: Array) -> Array:
    return ratio((values * which).sum(axis=1), which.sum(axis=1))


def _matthews(sums: Array) -> Array:
    """J. Gorodkin, Comparing two K-category assignments by a K-category correlation coefficient (2004)."""
    right, true, said = _right(sums).sum(axis=1), _true(sums), _said(sums)
    whole = true.sum(axis=1)
    above = right * whole - (true * said).sum(axis=1)
    below = np.sqrt((whole**2 - (said**2).sum(axis=1)) * (whole**2 - (true**2).sum(axis=1)))
    return np.where(below > 0, above / np.where(below > 0, below, 1), 0.0)
