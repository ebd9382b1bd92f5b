"""Columns that say something of rows: weights, groups, and the values of slices."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from headrace_trainer.evaluation.data.table import Array, Table, missing
from headrace_trainer.evaluation.refusal import UnreadableData

MOST_VALUES = 50
MISSING = "missing"


@dataclass(frozen=True)
class Values:
    """A column with few values: of each row the number of its value; `names` are these, sorted. `left_out` is how many
    values more there are, which are not looked at.
    """

    of: Array
    names: tuple[str, ...]
    left_out: int = 0


def weights(table: Table, name: str, rows: int) -> Array:
    """Of each row how much it counts: 1 where no column says it. Raises Refusal."""
    if not name:
        return np.ones(rows)
    found = table.column(name, "evaluate.data.weight")
    if found.dtype.kind not in "iufb" or found.ndim != 1:
        raise UnreadableData(
            f"{table.where}: the weights in {name!r} are no numbers",
            "Name a column of numbers in evaluate.data.weight.",
        )
    found = found.astype(np.float64)
    bad = int((~np.isfinite(found) | (found < 0)).sum())
    if bad or not found.sum() > 0:
        told = f"{bad} of {rows} weights in {name!r} are missing, infinite or below 0" if bad else "all weights are 0"
        raise UnreadableData(f"{table.where}: {told}", "Write a number that is not negative for each row.")
    return found


def groups(table: Table, name: str) -> Array | None:
    """Of each row the number of its group; None where rows are not grouped. Raises Refusal."""
    if not name:
        return None
    found = table.texts(name, "evaluate.data.group")
    lost = int(missing(found).sum())
    if lost:
        raise UnreadableData(
            f"{table.where}: {lost} of {len(found)} rows have no group in {name!r}", "Write a group for each row."
        )
    return np.unique(found.astype(str), return_inverse=True)[1].reshape(-1)


def values_of(table: Table, name: str, field: str, wanted: Collection[str] = ()) -> Values:
    """The values of a column, as texts. Of more than MOST_VALUES those that are `wanted`, and the most frequent: each
    other row has the number -1. Raises Refusal.
    """
    found = table.texts(name, field)
    if found.ndim != 1:
        raise UnreadableData(
            f"{table.where}: {name!r} has several values a row", f"Name a column with one value a row in {field}."
        )
    lost = missing(found)
    texts = np.array([MISSING if gone else text_of(value) for value, gone in zip(found, lost, strict=True)])
    names, of, counts = np.unique(texts, return_inverse=True, return_counts=True)
    of = of.reshape(-1)
    if len(names) <= MOST_VALUES:
        return Values(of, tuple(map(str, names)))
    rank = sorted(range(len(names)), key=lambda place: (str(names[place]) not in wanted, -counts[place], place))
    kept = sorted(rank[:MOST_VALUES])
    number = np.full(len(names), -1)
    number[kept] = np.arange(len(kept))
    return Values(number[of], tuple(str(names[place]) for place in kept), len(names) - len(kept))


def text_of(value: Any) -> str:
    """A value as a gate's slice names it: a whole number without .0."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, bool | np.bool_):
        return str(bool(value)).lower()
    if isinstance(value, float | np.floating) and np.isfinite(value) and float(value).is_integer():
        return str(int(value))
    return str(value)
