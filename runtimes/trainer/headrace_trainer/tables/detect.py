"""Looks for personal data in a table: in the values, and columns whose name says that they have such (personal.py).
What is found and what is missed of a planted set is a table in docs/how-to/prepare-data.md, which a test compares.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from headrace_common.protocol.tables import ColumnType
from headrace_trainer.tables.personal import Kind, is_telling, tests
from headrace_trainer.tables.table import Table
from headrace_trainer.tables.types import Array, parse, texts

# Of a column's different values that look like one.
MOST_LOOKED_AT = 50_000
_MOST_OF_A_VALUE = 10_000
# Of numbers that are no cards every tenth has a right check digit.
_FEW, _SHARE = 20, 0.2


@dataclass(frozen=True)
class Finding:
    """So many `rows` of a column have a value of a kind in them; of its name all of them."""

    column: str
    kind: Kind
    rows: int


def detect(table: Table, kept: Collection[str], done: Collection[str], region: str) -> list[Finding]:
    """In the columns that are neither `kept` as they are nor `done` already."""
    found: list[Finding] = []
    for name in table.data.column_names:
        if name not in kept and name not in done:
            found += _of_column(name, table.data.column(name), region)
    return found


def _of_column(name: str, column: Array, region: str) -> Iterator[Finding]:
    if is_telling(name):
        yield Finding(name, Kind.NAME, len(column))
    looked_at = _looked_at(column)
    if looked_at is None:
        return
    column = looked_at
    counted = pc.value_counts(texts(column).combine_chunks().drop_null())
    values, counts = counted.field("values"), counted.field("counts")
    for kind, pattern, test in tests(region):
        looks = pc.match_substring_regex(values, pattern)
        candidates: Sequence[str] = values.filter(looks).to_pylist()[:MOST_LOOKED_AT]
        of_each: Sequence[int] = counts.filter(looks).to_pylist()[:MOST_LOOKED_AT]
        hits = [count for value, count in zip(candidates, of_each, strict=True) if test(value[:_MOST_OF_A_VALUE])]
        is_chance = kind is Kind.CARD and len(candidates) > _FEW and len(hits) < _SHARE * len(candidates)
        if hits and not is_chance:
            yield Finding(name, kind, sum(hits))


def _looked_at(column: Array) -> Array | None:
    """Texts and whole numbers, whatever these are kept as: a column of pandas that has them, and one that is missing,
    is of floats.
    """
    kind = column.type
    if pa.types.is_floating(kind):
        return parse(column.cast(pa.float64()), ColumnType.INTEGER).values
    is_whole = pa.types.is_integer(kind) or (pa.types.is_decimal(kind) and kind.scale <= 0)
    return column if is_whole or pa.types.is_string(kind) or pa.types.is_large_string(kind) else None
