"""Tables for the tests: declared as a TrainingJob has it, made of columns, read back from what was written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from headrace_common.protocol.fields import Fields
from headrace_common.protocol.tables import Tables, parse_tables
from headrace_trainer.tables.refusal import Refused
from headrace_trainer.tables.run import run
from headrace_trainer.tables.table import Table

KEY = b"a masking key of some length"


def declared(**tables: Any) -> Tables:
    """`tables` of the dataset raw."""
    return parse_tables(Fields({"dataset": "raw", **tables}, "tables"))


def table(**columns: list[Any]) -> Table:
    """Of one file, rows.parquet."""
    data = pa.table({name: pa.array(values) for name, values in columns.items()})
    return Table(data, (("rows.parquet", data.num_rows),))


class Prepared:
    """What came of a run: `told` are the warnings as (subject, sentence)."""

    def __init__(self, folder: Path, told: list[tuple[str, str]]) -> None:
        self.folder = folder
        self.told = told

    @property
    def report(self) -> dict[str, Any]:
        return json.loads((self.folder / "report.json").read_text())

    @property
    def files(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in sorted(self.folder.iterdir())}

    def rows(self, part: str) -> list[dict[str, Any]]:
        return pyarrow.parquet.read_table(self.folder / f"{part}.parquet").to_pylist()


def prepare(tmp_path: Path, files: dict[str, str | bytes], **tables: Any) -> Prepared:
    """Runs it all on files with these contents."""
    number = len(list(tmp_path.iterdir()))
    source, target = tmp_path / f"raw-{number}", tmp_path / f"made-{number}"
    for name, content in files.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    told: list[tuple[str, str]] = []
    run(declared(**tables), source, "raw", KEY, target, lambda subject, text: told.append((subject, text)))
    return Prepared(target, told)


def refused(tmp_path: Path, files: dict[str, str | bytes], **tables: Any) -> Refused:
    """Runs it, and gives why it was refused."""
    with pytest.raises(Refused) as raised:
        prepare(tmp_path, files, **tables)
    assert "spec.prepare.tables" in raised.value.hint or raised.value.hint.startswith(("Give each", "A time is"))
    return raised.value
