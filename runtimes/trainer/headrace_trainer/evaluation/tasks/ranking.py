"""Ranking: a score for each row, and rows that compete with those of their own group (a query) only.

    ndcg                     the gains by place, each divided by log2(place + 1), as a share of what the best order has;
                             the gain is the label, and rows of one score share their places, as scikit-learn has it
    mean_average_precision   the mean over groups of the average precision, a label above 0 being relevant
    mean_reciprocal_rank     1 / place of the first relevant row; among equal scores it comes last
    precision_10, recall_10  the share of the first ten that are relevant, and of the relevant that are among them

A group without anything relevant has 0 in each of them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from headrace_trainer.evaluation.statistics.families import Family, column

Array = np.ndarray[Any, np.dtype[Any]]
_FIRST = 10
NAMES = ("ndcg", "ndcg_10", "mean_average_precision", "mean_reciprocal_rank", "precision_10", "recall_10")


@dataclass(frozen=True)
class Ranked:
    """One model's answers; an item is a group. `values` has a row a group and a column for each of NAMES."""

    values: Array
    weights: Array

    def measured(self, items: Array) -> Mapping[str, float]:
        means = np.average(self.values[items], axis=0, weights=self.weights[items])
        return dict(zip(NAMES, map(float, means), strict=True))

    def families(self, items: Array, wanted: Collection[str]) -> Sequence[Family]:
        weights = self.weights[items][:, None]
        columns = np.concatenate([weights, weights * self.values[items]], axis=1)
        return [Family(columns, {name: column(place + 1) for place, name in enumerate(NAMES)})]


def values_of_groups(group: Array, label: Array, score: Array) -> Array:
    """Of each group, by its number from 0, the metrics of NAMES."""
    groups = int(group.max()) + 1
    order = np.lexsort((-score, group))
    of, gain = group[order], label[order]
    relevant, place = (gain > 0).astype(np.float64), _places(of)
    starts = np.flatnonzero(np.r_[True, (of[1:] != of[:-1]) | (score[order][1:] != score[order][:-1])])
    of_ties, size = of[starts], np.diff(np.r_[starts, len(of)])
    hits = np.add.reduceat(relevant, starts)
    gains = np.add.reduceat(gain, starts) / size
    in_all = np.bincount(group, (label > 0).astype(np.float64), minlength=groups)

    def by_group(of_each_tie: Array) -> Array:
        return np.bincount(of_ties, of_each_tie, minlength=groups)

    def gained(most: int | None) -> Array:
        return by_group(gains * np.add.reduceat(_discounts(place, most), starts))

    best = np.lexsort((-label, group))
    best_place = _places(group[best])

    def ideal(most: int | None) -> Array:
        return np.bincount(group[best], label[best] * _discounts(best_place, most), minlength=groups)

    so_far = np.cumsum(hits) - _before(of_ties, hits)
    ends = place[starts] + size
    among_first = by_group(hits / size * np.clip(_FIRST - place[starts], 0, size))
    reciprocal = np.zeros(groups)
    np.maximum.at(reciprocal, of_ties, np.where(hits > 0, 1 / (ends - hits + 1), 0.0))
    return np.stack(
        [
            _share(gained(None), ideal(None)),
            _share(gained(_FIRST), ideal(_FIRST)),
            _share(by_group(hits * so_far / ends), in_all),
            reciprocal,
            among_first / _FIRST,
            _share(among_first, in_all),
        ],
        axis=1,
    )


def _places(group: Array) -> Array:
    """The place in its group, from 0, of rows that are sorted by their groups."""
    starts = np.flatnonzero(np.r_[True, group[1:] != group[:-1]])
    return np.arange(len(group)) - np.repeat(starts, np.diff(np.r_[starts, len(group)]))


def _discounts(place: Array, most: int | None) -> Array:
    found = 1 / np.log2(place + 2)
    return found if most is None else np.where(place < most, found, 0.0)


def _before(group: Array, values: Array) -> Array:
    """What came before the first of its group, of sorted groups."""
    starts = np.flatnonzero(np.r_[True, group[1:] != group[:-1]])
    so_far = np.r_[0.0, np.cumsum(values)]
    return np.repeat(so_far[starts], np.diff(np.r_[starts, len(group)]))


def _share(part: Array, whole: Array) -> Array:
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1), 0.0)
