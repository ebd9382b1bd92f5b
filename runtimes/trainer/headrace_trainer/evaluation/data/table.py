"""Rows as columns by name. A column has a row in its first dimension, and may have more of these."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from headrace_trainer.evaluation.refusal import UnreadableData, listed, no_column

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Table:
    """`where` is what the data is called in a sentence: its dataset, and the path below it. `written` has the texts of
    columns whose numbers are names, as they stand in a file of texts.
    """

    columns: Mapping[str, Array]
    where: str
    written: Mapping[str, Array] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        return list(self.columns)

    def column(self, name: str, field: str) -> Array:
        """The column of this name, which `field` of the spec asks for. Raises Refusal."""
        if name not in self.columns:
            raise no_column(self.where, name, self.names, field)
        return self.columns[name]

    def texts(self, name: str, field: str) -> Array:
        """The same of a column whose values are names: as they are written, where anybody knows that."""
        found = self.column(name, field)
        return self.written.get(name, found)

    def same_rows(self, names: Iterable[str]) -> int:
        """How many rows these columns have. Raises Refusal where that differs, or is none."""
        lengths = {name: len(self.columns[name]) for name in names}
        if len(set(lengths.values())) > 1:
            told = listed(f"{name} has {length}" for name, length in lengths.items())
            raise UnreadableData(
                f"{self.where}: the columns have not as many rows each: {told}",
                "Write one row for each example into every column.",
            )
        rows = next(iter(lengths.values()), 0)
        if not rows:
            raise UnreadableData(f"{self.where} has no rows", "Write the held-out rows there: nothing can be judged.")
        return rows


def stacked(values: Array) -> Array:
    """A column whose rows are lists, as an array with a dimension for each; any other column as it is. Raises
    ValueError where they are of different lengths.
    """
    if values.dtype != object or not len(values) or not isinstance(values[0], list | tuple | np.ndarray):
        return values
    rows = [np.asarray(_plain(row)) for row in values]
    if len({row.shape for row in rows}) > 1:
        raise ValueError("the rows have different lengths")
    return np.stack(rows)


def _plain(row: Any) -> Any:
    """Lists in lists, which Parquet hands over as arrays of arrays."""
    return [_plain(part) for part in row] if isinstance(row, np.ndarray) and row.dtype == object else row


def missing(values: Array) -> Array:
    """Of each row whether its value, or any of its values, is missing."""
    found: Array
    if values.dtype.kind in "fc":
        found = np.asarray(np.isnan(values))
    elif values.dtype.kind == "O":
        found = np.array([_is_missing(value) for value in values.ravel()]).reshape(values.shape)
    elif values.dtype.kind in "mM":
        found = np.asarray(np.isnat(values))
    else:
        return np.zeros(len(values), dtype=bool)
    return np.asarray(found.reshape(len(values), -1).any(axis=1))


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and value != value) or type(value).__name__ == "NAType"
