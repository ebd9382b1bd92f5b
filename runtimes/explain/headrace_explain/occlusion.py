"""Occlusion: how the answer falls where a patch of the row is taken out (Zeiler and Fergus, 2014).

A patch is a square of a picture, a window of a sequence, one token of a text, one value of a short row. What is taken
out has the baseline's values. Patches of a picture overlap; a value's attribution is the mean over those that have it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import ceil, prod

import numpy as np

from headrace_explain.asking import Asking, batch_rows, repeated
from headrace_explain.choose import MOST_COLUMNS, are_tokens
from headrace_explain.kind import Array, DType, Feed, NotExplainable

_SIDE = 7  # so many patches beside one another, before they overlap
_CHANNELS = 4  # a last or first dimension up to this size is the colours of a place


@dataclass(frozen=True)
class Patches:
    """Of one input: of each dimension of a row where its windows begin and end."""

    name: str
    windows: Sequence[Sequence[slice]]

    @property
    def count(self) -> int:
        return prod(len(one) for one in self.windows)

    def __iter__(self) -> Iterator[tuple[slice, ...]]:
        return product(*self.windows)


def plan(shapes: dict[str, tuple[int, ...]], dtypes: dict[str, DType], budget: int) -> list[Patches]:
    """Not more patches than the budget of a row. Raises NotExplainable."""
    if budget <= len(shapes):
        raise NotExplainable(f"Occlusion needs a budget of {len(shapes) + 1} at least, and it is {budget}: raise it")
    left, found = budget - 1, []  # one evaluation is of the baseline
    sizes = {name: prod(shape) for name, shape in shapes.items()}
    for number, name in enumerate(sorted(shapes, key=lambda name: sizes[name])):
        share = max(1, left // (len(shapes) - number))
        patches = _of(name, shapes[name], dtypes[name], share)
        left -= patches.count
        found.append(patches)
    return found


def attributions(
    asking: Asking, row: Feed, empty: Feed, top: float, target: int, patches: Sequence[Patches]
) -> dict[str, Array]:
    """Of one row (each array has one); `empty` is the baseline, `top` the answer to the row."""
    found = {}
    for of in patches:
        shape = row[of.name].shape[1:]
        total, seen = np.zeros(shape), np.zeros(shape)
        every = list(of)
        at_once = batch_rows(row)
        for first in range(0, len(every), at_once):
            here = every[first : first + at_once]
            batch = repeated(row, 0, len(here))
            taken = np.array(batch[of.name])
            for place, patch in enumerate(here):
                taken[place : place + 1][(slice(None), *patch)] = empty[of.name][(slice(None), *patch)]
            values = asking.values({**batch, of.name: taken}, np.full(len(here), target))
            for patch, value in zip(here, values, strict=True):
                total[patch] += top - value
                seen[patch] += 1
        found[of.name] = total / seen
    return {name: found[name] for name in row}


def _of(name: str, shape: tuple[int, ...], dtype: DType, most: int) -> Patches:
    channels = _channels(shape)
    spatial = [size for place, size in enumerate(shape) if place not in channels]
    is_one_by_one = are_tokens(shape, dtype) or (len(shape) <= 1 and prod(shape) <= MOST_COLUMNS)
    side, step = (1, 1) if is_one_by_one else _first_try(spatial)
    while prod(ceil(size / step) for size in spatial) > most:
        side, step = max(side, step + 1), step + 1
    return Patches(
        name,
        [[slice(0, size)] if place in channels else _windows(size, side, step) for place, size in enumerate(shape)],
    )


def _first_try(spatial: Sequence[int]) -> tuple[int, int]:
    side = max(1, ceil(min(spatial, default=1) / _SIDE))
    return side, max(1, side // 2)


def _windows(size: int, side: int, step: int) -> list[slice]:
    return [slice(start, min(start + side, size)) for start in range(0, size, step)]


def _channels(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The dimension that has the colours of a place, or what is measured at a time."""
    if len(shape) >= 2 and shape[-1] <= _CHANNELS:
        return (len(shape) - 1,)
    return (0,) if len(shape) >= 3 and shape[0] <= _CHANNELS else ()
