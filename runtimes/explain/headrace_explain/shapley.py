"""Shapley values by permutations: what a value adds to the answer, on average over all orders in which the row's values
can take the place of a background row's.

Estimated as by Castro et al. (2009) with antithetic pairs (Mitchell et al., 2022): each order is walked forwards and
backwards, from every row of the background. Each walk ends where it should, so the sum is exact however few there are;
so is every value where the model adds its inputs, or knows pairs of them alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from headrace_explain.asking import Asking, batch_rows
from headrace_explain.kind import Array, Feed, NotExplainable


@dataclass(frozen=True)
class Walks:
    """How a row's budget is spent: `rounds` pairs of walks from each of `background` rows, over `features` values."""

    features: int
    background: int
    rounds: int

    @property
    def evaluations(self) -> int:
        return 2 * (self.features - 1) * self.background * self.rounds


def features_of(shapes: dict[str, tuple[int, ...]]) -> int:
    return sum(prod(shape) for shape in shapes.values())


def plan(features: int, background: int, budget: int) -> Walks:
    """Raises NotExplainable where not one pair can be afforded."""
    if not features:
        raise NotExplainable("the rows have no values")
    pair = max(2 * (features - 1), 1)
    pairs = budget // pair
    if not pairs:
        raise NotExplainable(
            f"Shapley values of {features} values a row need a budget of {pair} at least, and it is {budget}: raise "
            "it, or use the method Occlusion"
        )
    used = min(background, pairs)
    return Walks(features, used, pairs // used)


def attributions(
    asking: Asking,
    row: Feed,
    background: Feed,
    ends: tuple[float, Array],
    target: int,
    walks: Walks,
    random: np.random.RandomState,
) -> dict[str, Array]:
    """Of one row (each array has one). `ends` are the answers to the row, and to each row of the background."""
    top, bottoms = ends
    of = np.tile(np.arange(walks.background), walks.rounds)
    forwards = np.array([random.permutation(walks.features) for _ in of])
    ranks = np.concatenate([forwards, walks.features - 1 - forwards])
    of = np.tile(of, 2)
    values = np.empty((len(ranks), walks.features + 1))
    values[:, 0], values[:, -1] = bottoms[of], top
    values[:, 1:-1] = _between(asking, row, background, target, ranks, of)
    added = np.take_along_axis(np.diff(values, axis=1), ranks, axis=1)
    return _by_input(added.mean(axis=0), row)


def _between(asking: Asking, row: Feed, background: Feed, target: int, ranks: Array, of: Array) -> Array:
    """What the model says on each walk between its ends; `ranks` has of each walk when a value's turn is, `of` from
    which row of the background it begins. Rows are made as they are asked about: all of them are more than fit.
    """
    walks, steps = len(ranks), ranks.shape[1] - 1
    found, at_once = np.empty(walks * steps), batch_rows(row)
    for first in range(0, len(found), at_once):
        walk, step = np.divmod(np.arange(first, min(first + at_once, len(found))), steps)
        mixed = _mixed(row, background, ranks[walk] <= step[:, None], of[walk])
        found[first : first + at_once] = asking.values(mixed, np.full(len(walk), target))
    return found.reshape(walks, steps)


def _mixed(row: Feed, background: Feed, is_ours: Array, of: Array) -> dict[str, Array]:
    """Rows that have the row's values where `is_ours`, and else those of the background's row `of`."""
    found, start = {}, 0
    for name, values in row.items():
        shape = values.shape[1:]
        end = start + prod(shape)
        mask = is_ours[:, start:end].reshape(len(is_ours), *shape)
        found[name] = np.where(mask, values, background[name][of])
        start = end
    return found


def _by_input(flat: Array, row: Feed) -> dict[str, Array]:
    found, start = {}, 0
    for name, values in row.items():
        end = start + prod(values.shape[1:])
        found[name] = flat[start:end].reshape(values.shape[1:])
        start = end
    return found
