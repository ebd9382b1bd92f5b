"""Whether a classification treats groups of people alike: the groups that a sensitive column makes.

    demographic parity    who is given the positive class, as a share of each group
    equal opportunity     the same, of those alone whose label it is (the true positive rate)
    equalized odds        that, and the same of those whose label it is not (the false positive rate)

The difference is that of the highest and the lowest share, 0 being equal; the ratio is the lowest by the highest, 1
being equal. fairlearn computes them; here they are functions of sums, too.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from fairlearn import metrics

from headrace_trainer.evaluation.statistics.families import Array as Sums
from headrace_trainer.evaluation.statistics.families import Family, scattered

Array = np.ndarray[Any, np.dtype[Any]]
_RATES = {
    "selection_rate": metrics.selection_rate,
    "true_positive_rate": metrics.true_positive_rate,
    "false_positive_rate": metrics.false_positive_rate,
}
# Of each measure its rates, of which the worst counts.
_OF_RATES = {
    "demographic_parity": ["selection_rate"],
    "equalized_odds": ["true_positive_rate", "false_positive_rate"],
    "equal_opportunity": ["true_positive_rate"],
}


def measured(truth: Array, given: Array, group: Array, weights: Array) -> dict[str, float]:
    """`truth` and `given` say of each row whether it is of the positive class, and is given it; `group` is a number."""
    with warnings.catch_warnings():  # of a group without positives, whose rate is 0
        warnings.simplefilter("ignore")
        frame = metrics.MetricFrame(
            metrics=_RATES,
            y_true=truth.astype(int),
            y_pred=given.astype(int),
            sensitive_features=group,
            sample_params={name: {"sample_weight": weights} for name in _RATES},
        )
        apart, by = frame.difference(method="between_groups"), frame.ratio(method="between_groups")
    differences = {f"{name}_difference": float(apart[rates].max()) for name, rates in _OF_RATES.items()}
    return differences | {f"{name}_ratio": float(by[rates].min(skipna=False)) for name, rates in _OF_RATES.items()}


def by_group(truth: Array, given: Array, group: Array, weights: Array) -> dict[int, dict[str, float]]:
    """What the differences are between: of each group its shares."""
    found = {}
    for one in np.unique(group):
        rows = group == one
        sums = family(truth[rows], given[rows], np.zeros(int(rows.sum()), dtype=np.int64), weights[rows]).columns
        share = [float(part[0, 0]) for part in _rates(np.asarray(sums.sum(axis=0)).reshape(1, -1))]
        found[int(one)] = dict(zip(("selection_rate", "true_positive_rate", "false_positive_rate"), share, strict=True))
    return found


def family(truth: Array, given: Array, group: Array, weights: Array) -> Family:
    """Columns, of each group: rows, given, positives, right among these, negatives, wrong among those."""
    groups = int(group.max()) + 1
    parts = (np.ones(len(truth)), given, truth, truth & given, ~truth, ~truth & given)
    return Family(
        scattered(len(parts) * groups, [(weights * part, place * groups + group) for place, part in enumerate(parts)]),
        {
            "demographic_parity_difference": lambda sums: _difference(sums, 0),
            "demographic_parity_ratio": lambda sums: _ratio(sums, 0),
            "equalized_odds_difference": lambda sums: np.maximum(_difference(sums, 1), _difference(sums, 2)),
            "equalized_odds_ratio": lambda sums: np.minimum(_ratio(sums, 1), _ratio(sums, 2)),
            "equal_opportunity_difference": lambda sums: _difference(sums, 1),
            "equal_opportunity_ratio": lambda sums: _ratio(sums, 1),
        },
    )


def _rates(sums: Sums) -> tuple[Sums, Sums, Sums]:
    """NaN of a group that a resample has no row of; 0 where nothing is there that could be given it."""
    rows, given, positives, right, negatives, wrong = np.split(sums, 6, axis=1)
    shares = (
        np.where(whole > 0, part / np.where(whole > 0, whole, 1), 0.0)
        for part, whole in ((given, rows), (right, positives), (wrong, negatives))
    )
    selected, true, false = (np.where(rows > 0, share, np.nan) for share in shares)
    return selected, true, false


def _difference(sums: Sums, which: int) -> Sums:
    rate = _rates(sums)[which]
    found: Sums = np.nanmax(rate, axis=1) - np.nanmin(rate, axis=1)
    return found


def _ratio(sums: Sums, which: int) -> Sums:
    rate = _rates(sums)[which]
    highest = np.nanmax(rate, axis=1)
    found: Sums = np.where(highest > 0, np.nanmin(rate, axis=1) / np.where(highest > 0, highest, 1), np.nan)
    return found
