"""A table in memory, with the files that its rows came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from headrace_common.protocol.reasons import Reason
from headrace_trainer.tables.personal import shown
from headrace_trainer.tables.refusal import Refused
from headrace_trainer.tables.types import Array

_SHOWN = 5
_NAMED = 20


@dataclass(frozen=True)
class Table:
    """`files` are names and numbers of rows, in the order in which the rows stand. What is `untyped` has texts alone,
    as they were written.
    """

    data: pa.Table
    files: tuple[tuple[str, int], ...]
    untyped: bool = False

    def with_column(self, name: str, values: pa.Array | Array) -> Table:
        """The same with other values in a column, at its place."""
        return replace(self, data=self.data.set_column(self.data.column_names.index(name), name, values))

    def column(self, name: str, asked_by: str) -> Array:
        """A column by its name. Raises Refused (ColumnNotFound); `asked_by` is the field that names it."""
        if name not in self.data.column_names:
            known = ", ".join(shown(known) for known in self.data.column_names[:_NAMED])
            raise Refused(
                Reason.COLUMN_NOT_FOUND,
                f"{asked_by} names the column {name}, and the table has {known}",
                f"Correct spec.prepare.tables.{asked_by}: names are as in the table, capitals and spaces included.",
            )
        return self.data.column(name)

    def place(self, row: int) -> str:
        """One row, in words."""
        return self.places([row])

    def places(self, rows: Sequence[int]) -> str:
        """The first of some rows, in words: numbers count from 1 in each file, without its header."""
        told, left = [], [*rows[:_SHOWN]]
        begin = 0
        for name, count in self.files:
            here = [str(row - begin + 1) for row in left if begin <= row < begin + count]
            if here:
                told.append(f"row{'s' if len(here) > 1 else ''} {', '.join(here)}{self._of(name)}")
            begin += count
        return "; ".join(told) + (", ..." if len(rows) > _SHOWN else "")

    def _of(self, name: str) -> str:
        return f" of {name}" if len(self.files) > 1 else ""
