"""Whether a table is what is declared of it: types by `types`, everything else by pandera. All faults are told at once,
with their rows; with their values where nobody has declared, or found, that they are private.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import pandas as pd
import pandera.pandas as pandera
from pandera.errors import SchemaErrors

from headrace_common.protocol.reasons import Reason
from headrace_common.protocol.tables import Column, ColumnType, TableSchema
from headrace_trainer.tables.personal import shown, shown_value
from headrace_trainer.tables.refusal import Refused
from headrace_trainer.tables.table import Table
from headrace_trainer.tables.types import infer, parse

_MOST_FAULTS = 8
_MOST_VALUES = 3
_MOST_OF_A_VALUE = 40
_NAMED = 10
_HINT = (
    "Correct the data, or what spec.prepare.tables.schema says of it, in a new TrainingJob. Rows count from 1 in each "
    "file, without its header."
)


@dataclass(frozen=True)
class _Fault:
    """`words` are what is wrong with so many values: `values are below 0`. `values` are those of the first rows."""

    column: str
    words: str
    rows: Sequence[int]
    values: Sequence[str] = ()


def apply(table: Table, schema: TableSchema | None, private: Collection[str], region: str = "") -> Table:
    """The table, its columns typed. Raises Refused (SchemaViolated); `region` is that of telephone numbers."""
    declared = () if schema is None else schema.columns
    names = table.data.column_names
    told = [f"there is no column {column.name}" for column in declared if column.name not in names]
    others = [name for name in names if name not in {column.name for column in declared}]
    if schema is not None and schema.strict and others:
        more = f" and {len(others) - _NAMED} more" if len(others) > _NAMED else ""
        told.append(f"columns that the schema does not name: {', '.join(map(shown, others[:_NAMED]))}{more}")
    present = [column for column in declared if column.name in names]
    faults = []
    for column in present:
        raw = table.data.column(column.name)
        parsed = parse(raw, column.type)
        table = table.with_column(column.name, parsed.values)
        if parsed.bad:
            values = [str(raw[row].as_py()) for row in parsed.bad[:_MOST_VALUES]]
            faults.append(_Fault(column.name, f"values are no {column.type}", parsed.bad, values))
    if table.untyped:
        for name in others:
            table = table.with_column(name, infer(table.data.column(name)))
    found = {(fault.column, row) for fault in faults for row in fault.rows}
    faults += _by_pandera(table, present, found)
    if told or faults:
        _violated(table, told, faults, private, region)
    return table


def lacks_columns(table: Table, schema: TableSchema | None) -> bool:
    """Whether `apply` refuses the table for that."""
    return schema is not None and any(column.name not in table.data.column_names for column in schema.columns)


def _by_pandera(table: Table, columns: Sequence[Column], known: Collection[tuple[str, int]]) -> Iterator[_Fault]:
    """What is `known` is missing in the column, and is not told again as that."""
    if not columns:
        return
    checks = pandera.DataFrameSchema(
        {
            column.name: pandera.Column(
                nullable=column.nullable, unique=column.unique, checks=[check for check, _ in _checks(column)]
            )
            for column in columns
        }
    )
    frame = table.data.select([column.name for column in columns]).to_pandas(types_mapper=pd.ArrowDtype)
    try:
        checks.validate(frame, lazy=True)
    except SchemaErrors as error:
        by_name = {column.name: column for column in columns}
        for (name, check, number), cases in error.failure_cases.groupby(
            ["column", "check", "check_number"], dropna=False, sort=False
        ):
            rows = sorted(int(row) for row in cases["index"])
            if check == "not_nullable":
                rows = [row for row in rows if (name, row) not in known]
            words = _words(by_name[name], str(check), number)
            values = [] if check == "not_nullable" else [str(frame[name].iloc[row]) for row in rows[:_MOST_VALUES]]
            if rows:
                yield _Fault(name, words, rows, values)


def _checks(column: Column) -> list[tuple[pandera.Check, str]]:
    """Each with what is said of a value that does not pass."""
    found = []
    if column.min is not None:
        found.append((pandera.Check.ge(_bound(column, column.min)), f"values are below {column.min}"))
    if column.max is not None:
        found.append((pandera.Check.le(_bound(column, column.max)), f"values are above {column.max}"))
    if column.one_of:
        found.append((pandera.Check.isin(list(column.one_of)), "values are none of oneOf"))
    if column.matches:
        found.append((pandera.Check(_matches(column), element_wise=True), f"values do not match {column.matches}"))
    return found


def _bound(column: Column, value: Any) -> float:
    is_whole = column.type is ColumnType.INTEGER and value == int(value) and -(2**63) <= value < 2**63
    return int(value) if is_whole else float(value)


def _matches(column: Column) -> Callable[[str], bool]:
    """By Python's re, as is told: pandera's own check asks Arrow, whose expressions are others."""
    try:
        pattern = re.compile(column.matches)
    except re.error as error:
        raise Refused(
            Reason.BAD_CONFIG,
            f"schema: column {column.name}: matches is no regular expression: {error}",
            "Correct spec.prepare.tables.schema: an expression of Python's re, which is looked for in the value.",
        ) from None
    return lambda value: pattern.search(value) is not None


def _words(column: Column, check: str, number: Any) -> str:
    if check == "not_nullable":
        return "values are missing"
    if check == "field_uniqueness":
        return "values are there more than once"
    return _checks(column)[int(number)][1]


def _violated(table: Table, told: list[str], faults: list[_Fault], private: Collection[str], region: str) -> NoReturn:
    told += [_told(table, fault, private, region) for fault in faults[:_MOST_FAULTS]]
    if len(faults) > _MOST_FAULTS:
        told.append(f"{len(faults) - _MOST_FAULTS} more")
    raise Refused(Reason.SCHEMA_VIOLATED, f"the table is not what its schema says: {'; '.join(told)}", _HINT)


def _told(table: Table, fault: _Fault, private: Collection[str], region: str) -> str:
    what = f"{fault.column}: {len(fault.rows)} {fault.words}"
    if not fault.values:
        return f"{what} ({table.places(fault.rows)})"
    if fault.column in private:
        return f"{what} ({table.places(fault.rows)}; values of a private column are not shown)"
    told = [
        f"{table.place(row)}: {shown_value(fault.column, value, region, _MOST_OF_A_VALUE)}"
        for row, value in zip(fault.rows, fault.values, strict=False)
    ]
    more = ["..."] if len(fault.rows) > len(told) else []
    return f"{what} ({'; '.join([*told, *more])})"
