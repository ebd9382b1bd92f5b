"""Classes of different sizes, made to count the same in the training part; the other parts stay as the data is.

Oversample    rows of small classes are there more than once, until each class has as many as the largest
Undersample   of large classes rows are left out, until each has as many as the smallest
Weights       a column `weight` says what a row counts: rows / (classes x rows of its class), 1 on average
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from headrace_common.protocol.tables import Balance, BalanceMethod
from headrace_trainer.tables.split import Codes, codes, unusable
from headrace_trainer.tables.table import Table
from headrace_trainer.tables.types import rows_of

WEIGHT = "weight"
_MOST_CLASSES = 1000


@dataclass(frozen=True)
class Balanced:
    """The rows of the training part, in their order, and their weights, where that is how they are balanced."""

    rows: Codes
    weights: npt.NDArray[np.float64] | None = None


def balance(table: Table, how: Balance, rows: Codes, seed: int) -> Balanced:
    """`rows` are those of the training part. Raises Refused (ColumnNotFound, ColumnUnusable)."""
    missing = rows_of(pc.is_null(table.column(how.column, "balance.column"), nan_is_null=True))
    if missing:
        unusable(
            f"balance.column: {len(missing)} rows have no {how.column} ({table.places(missing)})",
            "Give each row a class, or take the rows away. spec.prepare.tables.schema can require it.",
        )
    labels = codes(table, how.column, "balance.column")[rows]
    count = len(np.unique(labels))
    if not 1 < count <= _MOST_CLASSES:
        unusable(
            f"balance.column: {how.column} has {count} different values in the training part",
            f"A column of classes has 2 to {_MOST_CLASSES}. Leave spec.prepare.tables.balance out, or name another.",
        )
    if how.method is BalanceMethod.WEIGHTS:
        if WEIGHT in table.data.column_names:
            unusable(
                f"balance: the table has a column {WEIGHT} already",
                "Rename it, or use Oversample or Undersample in spec.prepare.tables.balance.",
            )
        sizes = np.bincount(labels)
        return Balanced(rows, len(labels) / (count * sizes[labels]))
    return Balanced(np.sort(np.concatenate(list(_sampled(rows, labels, how.method, seed)))))


def with_weights(part: pa.Table, weights: npt.NDArray[np.float64]) -> pa.Table:
    """The part with the column that says them."""
    return part.append_column(WEIGHT, pa.array(weights))


def _sampled(rows: Codes, labels: Codes, method: BalanceMethod, seed: int) -> Iterator[Codes]:
    """Of each class so many rows; none more than once more often than another."""
    random = np.random.RandomState(seed)
    sizes = np.bincount(labels)
    is_over = method is BalanceMethod.OVERSAMPLE
    wanted = int(sizes.max() if is_over else sizes[sizes > 0].min())
    for label in np.unique(labels):
        yield np.resize(random.permutation(rows[labels == label]), wanted)
