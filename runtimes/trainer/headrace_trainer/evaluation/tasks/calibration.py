"""Whether a model that says 80 % is right in 80 % of the cases.

The expected calibration error: rows are put into bins of equal width by how sure the model is of what it says; the mean
over rows of how far a bin's share of right answers is from its mean confidence.
(C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, On Calibration of Modern Neural Networks, ICML 2017.)
"""

from __future__ import annotations

from typing import Any

import numpy as np

from headrace_trainer.evaluation.statistics.families import Family, ratio, scattered

Array = np.ndarray[Any, np.dtype[Any]]
BINS = 15


def bins(truth: Array, predicted: Array, given: Array, weights: Array) -> tuple[Array, Array, Array]:
    """Of each bin: the weight of its right answers, of its confidence, and of its rows."""
    sums = np.asarray(_columns(truth, predicted, given, weights).sum(axis=0)).reshape(-1)
    return sums[:BINS], sums[BINS : 2 * BINS], sums[2 * BINS :]


def error(truth: Array, predicted: Array, given: Array, weights: Array) -> float:
    """The expected calibration error."""
    return family(truth, predicted, given, weights).values()["calibration_error"]


def family(truth: Array, predicted: Array, given: Array, weights: Array) -> Family:
    return Family(_columns(truth, predicted, given, weights), {"calibration_error": _error})


def _columns(truth: Array, predicted: Array, given: Array, weights: Array) -> Any:
    sure = given.max(axis=1)
    place = np.minimum((sure * BINS).astype(np.int64), BINS - 1)
    parts = (weights * (truth == predicted), weights * sure, weights)
    return scattered(3 * BINS, [(part, number * BINS + place) for number, part in enumerate(parts)])


def _error(sums: Array) -> Array:
    apart = np.abs(sums[:, :BINS] - sums[:, BINS : 2 * BINS]).sum(axis=1)
    return ratio(apart, sums[:, 2 * BINS :].sum(axis=1))
