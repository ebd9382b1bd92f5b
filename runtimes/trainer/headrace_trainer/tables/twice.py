"""Rows that are there more than once, value for value: where they are in two parts, the one tells of the other."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from headrace_trainer.tables.split import Codes

Marks = npt.NDArray[np.uint64]
_MIX = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(30), np.uint64(27))


def marks(data: pa.Table) -> Marks:
    """A number for each row, the same for the same values (splitmix64 of each column's). Lists and structures do not
    count.
    """
    found = np.zeros(data.num_rows, np.uint64)
    add, multiply, first, second = _MIX
    for field in data.schema:
        if not pa.types.is_nested(field.type):
            encoded = data.column(field.name).combine_chunks().dictionary_encode(null_encoding="encode")
            found = (found ^ encoded.indices.to_numpy(zero_copy_only=False).astype(np.uint64)) + add
            found = (found ^ (found >> first)) * multiply
            found ^= found >> second
    return found


def also_in_training(data: pa.Table, rows: Mapping[str, Codes]) -> dict[str, int]:
    """Of each part but train, how many of its rows are in train too."""
    of_row = marks(data)
    train = of_row[rows["train"]]
    return {name: int(np.isin(of_row[part], train).sum()) for name, part in rows.items() if name != "train"}
