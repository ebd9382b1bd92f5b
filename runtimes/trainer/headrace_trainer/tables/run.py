"""The order of things: a dataset's table goes in, its parts and a report come out.

Read, schema, split, privacy, detect, balance, write: parts are of the rows as they were, so that they may be split by a
column that is dropped; what is in them is of the hidden table. A table is one of Arrow's in memory, each module takes
one and gives one. No text of a library's error leaves here: it may have a value of a private column.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from headrace_common.protocol.reasons import Reason
from headrace_common.protocol.tables import Action, Detect, Privacy, Tables
from headrace_trainer.tables import balance, privacy, report, schema
from headrace_trainer.tables.detect import Finding, detect
from headrace_trainer.tables.personal import shown
from headrace_trainer.tables.read import read
from headrace_trainer.tables.refusal import Refused
from headrace_trainer.tables.split import PARTS, Codes, split
from headrace_trainer.tables.table import Table
from headrace_trainer.tables.twice import also_in_training
from headrace_trainer.tables.write import write

WHOLE = "data"
_NAMED = 10


def run(tables: Tables, source: Path, name: str, key: bytes, target: Path, tell: Callable[[str, str], None]) -> None:
    """`source` is the dataset, `name` that of its object where it is one. `tell` hears what its user may not expect:
    a subject and a sentence. Raises Refused.
    """
    raw = read(source, tables.path, name)
    actions: Mapping[str, Action] = {} if tables.privacy is None else tables.privacy.actions
    private = {column for column, action in actions.items() if action is not Action.KEEP}
    if not schema.lacks_columns(raw, tables.schema):  # then the schema is what tells most
        _check_names(raw, tables)
    table = schema.apply(raw, tables.schema, private, "" if tables.privacy is None else tables.privacy.region)
    del raw
    print(_size(table), flush=True)
    places = None if tables.split is None else split(table, tables.split)
    hidden = table if tables.privacy is None else privacy.apply(table, tables.privacy, key)
    found = [] if tables.privacy is None else _look(hidden, tables.privacy, private, tell)
    rows = _rows(places)
    twice = also_in_training(hidden.data, rows) if rows else {}
    _tell_twice(twice, tell)
    parts = _parts(table, hidden, tables, rows)
    told = report.report(tables, table.data, len(table.files), parts, found, twice)
    target.mkdir(parents=True, exist_ok=True)
    for part, data in parts.items():
        file = write(data, target, part, tables.write)
        print(f"{file.name}: {data.num_rows} rows, {file.stat().st_size} bytes", flush=True)
    (target / report.NAME).write_text(report.as_text(told), encoding="utf-8")


def _check_names(table: Table, tables: Tables) -> None:
    """Before anything is computed. Columns of the schema are told with all else that it is not held by."""
    for column in () if tables.privacy is None else tables.privacy.actions:
        table.column(column, "privacy")
    if (how := tables.split) is not None:
        for name, column in (("stratify", how.stratify), ("group", how.group), ("time", how.time)):
            if column:
                table.column(column, f"split.{name}")
    if tables.balance is not None:
        table.column(tables.balance.column, "balance.column")


def _look(table: Table, how: Privacy, done: set[str], tell: Callable[[str, str], None]) -> list[Finding]:
    """Raises Refused (PrivateDataFound)."""
    if how.detect is Detect.OFF:
        return []
    kept = {name for name, action in how.actions.items() if action is Action.KEEP}
    found = detect(table, kept, done, how.region)
    if not found:
        return []
    words = "; ".join(f"{shown(one.column)}: {one.kind} ({one.rows} rows)" for one in found[:_NAMED])
    words += f"; {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    if how.detect is Detect.REFUSE:
        raise Refused(
            Reason.PRIVATE_DATA_FOUND,
            f"there seems to be personal data in columns that are not private: {words}",
            "Name each of these columns in spec.prepare.tables.privacy.columns: Drop, Mask, Hash or Tokenize; or Keep "
            "where it is none.",
        )
    tell("privacy", f"there seems to be personal data in what is left: {words}")
    return found


def _rows(places: Codes | None) -> dict[str, Codes]:
    """The rows of each part that there is; none without a split."""
    if places is None:
        return {}
    found = {name: np.flatnonzero(places == number) for number, name in enumerate(PARTS)}
    return {name: rows for name, rows in found.items() if len(rows)}


def _tell_twice(twice: Mapping[str, int], tell: Callable[[str, str], None]) -> None:
    several = " and ".join(f"{count} rows of {part}" for part, count in twice.items() if count)
    if several:
        tell("split", f"{several} are in the training part too, value for value: what is learnt by heart counts there")


def _parts(table: Table, hidden: Table, tables: Tables, rows: Mapping[str, Codes]) -> dict[str, pa.Table]:
    """Which rows, by the table as it was; what is in them, of the hidden one."""
    if not rows:
        return {WHOLE: hidden.data}
    parts = {name: hidden.data.take(pa.array(of_part)) for name, of_part in rows.items()}
    if tables.balance is not None and tables.split is not None:
        made = balance.balance(table, tables.balance, rows["train"], tables.split.seed)
        parts["train"] = hidden.data.take(pa.array(made.rows))
        if made.weights is not None:
            parts["train"] = balance.with_weights(parts["train"], made.weights)
    return parts


def _size(table: Table) -> str:
    data, files = table.data, len(table.files)
    return f"{data.num_rows} rows, {data.num_columns} columns, {data.nbytes >> 20} MiB in memory, of {files} files"
