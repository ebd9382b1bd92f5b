"""Files to one table. They are of one kind, and are read in the order of their names.

CSV: UTF-8, with a header, commas; an empty field is a missing value, and no other word is. JSON lines: an object a
line, of texts, numbers, true and false. What is compressed by gzip or zstd is told by its name.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NoReturn

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from headrace_common.protocol.reasons import Reason
from headrace_trainer.tables.personal import shown
from headrace_trainer.tables.refusal import Refused
from headrace_trainer.tables.table import Table
from headrace_trainer.tables.types import from_json, plain

_COMPRESSED = {".gz": "gzip", ".zst": "zstd"}
_SEPARATORS = {";": "semicolons", "|": "bars", "\t": "tabs"}
_MOST_OF_A_NAME = 80
_NAMED = 5
# A row of a CSV file has to fit into two of them.
_BLOCK_BYTES = 16 << 20
# Of the texts of a column: their places are numbers of 32 bits.
_MOST_BYTES = 2**31 - 1
_HINT = (
    "spec.prepare.tables reads .csv, .jsonl (also .gz and .zst) and .parquet files of one kind, with the same columns. "
    "Correct the files, or name one file or folder of the dataset in spec.prepare.tables.path."
)


def read(folder: Path, path: str, name: str) -> Table:
    """What lies at `path` below `folder`. A dataset of one object is a file, whose `name` says of what kind it is.
    Raises Refused (TableUnreadable).
    """
    found = _files(folder, path, name)
    kinds = {kind for _, kind, _ in found}
    if len(kinds) > 1:
        _unreadable(f"there are files of several kinds: {', '.join(sorted(kinds))}")
    parts = [(told, _read_one(file, told, kind)) for told, kind, file in found]
    first = parts[0][1].column_names
    for told, part in parts:
        _check_columns(part, told, parts[0][0], first)
    try:
        whole = pa.concat_tables([part.select(first) for _, part in parts], promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        _unreadable(f"{_other_types(parts)}: a column has other types in other files")
    if whole.num_rows == 0:
        _unreadable(f"{_named([told for told, _ in parts])}: there are no rows")
    for index, field in enumerate(whole.schema):
        if pa.types.is_null(field.type):
            whole = whole.set_column(index, field.name, whole.column(index).cast(pa.string()))
        if whole.column(index).nbytes > _MOST_BYTES:
            _unreadable(
                f"{shown(field.name)} has more than 2 GiB of values",
                "Split the data into several jobs, or prepare it by a script: set spec.prepare.type to Script, without "
                "spec.prepare.tables.",
            )
    return Table(whole, tuple((told, part.num_rows) for told, part in parts), untyped=kinds == {".csv"})


def _files(folder: Path, path: str, name: str) -> list[tuple[str, str, Path]]:
    """Names, kinds and places, sorted by name. In a folder what is of no kind, or hidden, is passed over: an editor's
    copies would be rows that are there twice.
    """
    place = folder / path if path else folder
    if not _is_below(place, folder) or not place.exists():
        _unreadable(f"there is no {path} in the dataset", "Correct spec.prepare.tables.path, or upload the file.")
    if place.is_file():
        told = PurePosixPath(path or name).name
        kind = _kind(told)
        if kind is None:
            _unreadable(f"{told} is none of .csv, .jsonl and .parquet")
        return [(told, kind, place)]
    below = ((file.relative_to(place).as_posix(), file) for file in place.rglob("*") if file.is_file())
    seen = ((told, file) for told, file in below if not any(part.startswith(".") for part in told.split("/")))
    found = [(told, kind, file) for told, file in seen if (kind := _kind(told)) is not None]
    if not found:
        _unreadable("there is no .csv, .jsonl or .parquet file")
    if strange := [told for told, _, file in found if not _is_below(file, folder)]:
        _unreadable(f"{_named(sorted(strange))}: a link that leads out of the dataset")
    return sorted(found)


def _is_below(place: Path, folder: Path) -> bool:
    """Where it lies in the end. In a volume somebody may have put a link to what only the pod may read."""
    return place.resolve().is_relative_to(folder.resolve())


def _kind(name: str) -> str | None:
    suffixes = PurePosixPath(name.lower()).suffixes
    if suffixes and suffixes[-1] in _COMPRESSED:
        suffixes.pop()
    kind = suffixes[-1] if suffixes else ""
    return kind if kind in _READERS else None


def _read_one(file: Path, told: str, kind: str) -> pa.Table:
    try:
        table = _READERS[kind](file, told)
    except (pa.ArrowException, OSError, ValueError, EOFError):
        _unreadable(f"{told} is no {kind} file that can be read: it is damaged, or no UTF-8")
    names = table.column_names
    if not names or "" in names:
        _unreadable(f"{told}: a column has no name")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        _unreadable(f"{told}: two columns have the name {shown(twice)}")
    return table


def _open(file: Path, told: str) -> BinaryIO:
    compression = _COMPRESSED.get(PurePosixPath(told.lower()).suffix)
    raw = pa.input_stream(str(file), compression=compression)
    stream: BinaryIO = raw
    return stream


def _read_csv(file: Path, told: str) -> pa.Table:
    """All as texts: what a column holds is told by all of its rows (types.py)."""
    wrong: list[pyarrow.csv.InvalidRow] = []

    def note(row: pyarrow.csv.InvalidRow) -> str:
        wrong.append(row)
        return "error" if len(wrong) > 1 else "skip"

    parse = pyarrow.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=lambda row: "skip")
    blocks = pyarrow.csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES)  # with threads no row has a number
    with _open(file, told) as stream:
        names = pyarrow.csv.open_csv(stream, read_options=blocks, parse_options=parse).schema.names
    options = {
        "read_options": blocks,
        "parse_options": pyarrow.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=note),
        "convert_options": pyarrow.csv.ConvertOptions(
            strings_can_be_null=True, null_values=[""], column_types=dict.fromkeys(names, pa.string())
        ),
    }
    try:
        with _open(file, told) as stream:
            table = pyarrow.csv.read_csv(stream, **options)
    except pa.ArrowInvalid:
        if not wrong:
            raise
    _check_separator(told, names, None if wrong else table)
    if wrong:
        row = wrong[0]
        _unreadable(f"{told}: row {row.number - 1} has {row.actual_columns} fields, not {row.expected_columns}")
    return table


def _check_separator(told: str, names: list[str], rows: pa.Table | None) -> None:
    """A file with another one has a single column. Where some rows lack it, it is a part of the column's name; what
    cannot be read at all may have commas in its numbers.
    """
    if len(names) != 1:
        return
    for sign, word in _SEPARATORS.items():
        count = names[0].count(sign)
        if count and (rows is None or _all_have(rows.column(0), sign, count)):
            _unreadable(
                f"{told}: fields are separated by commas, and this file seems to have {word}: its only column is "
                f"{shown(names[0])[:_MOST_OF_A_NAME]}",
                "Write the file with commas between the fields: spec.prepare.tables reads no other separator. A script "
                "(spec.prepare.type Script, without tables) reads any.",
            )


def _all_have(column: pa.ChunkedArray, sign: str, count: int) -> bool:
    """As often as the header, or more often: a text in quotes may have it, too."""
    return bool(pc.all(pc.greater_equal(pc.count_substring(column, sign), count), min_count=0).as_py())


def _read_parquet(file: Path, told: str) -> pa.Table:
    table = pyarrow.parquet.ParquetFile(file).read()
    table = table.replace_schema_metadata(None)
    # Of pandas: the numbers of rows, which are no data.
    table = table.drop_columns([name for name in table.column_names if name.startswith("__index_level_")])
    for index, field in enumerate(table.schema):
        table = table.set_column(index, field.name, plain(table.column(index)))
    return table


def _read_jsonl(file: Path, told: str) -> pa.Table:
    columns: dict[str, list[Any]] = {}
    count = 0
    with _open(file, told) as stream:
        for number, line in enumerate(io.TextIOWrapper(stream, "utf-8-sig"), 1):
            if not line.strip():
                continue
            for name, value in _object(line, told, number).items():
                if isinstance(value, dict | list):
                    _unreadable(f"{told}: line {number}: {shown(name)} is no text, number, true or false")
                columns.setdefault(name, [None] * count).append(value)
            count += 1
            for values in columns.values():
                if len(values) < count:
                    values.append(None)
    return pa.table({name: from_json(values) for name, values in columns.items()})


def _object(line: str, told: str, number: int) -> Mapping[str, Any]:
    try:
        value = json.loads(line, parse_constant=lambda word: None)  # NaN is a missing value
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        _unreadable(f"{told}: line {number} is no JSON object")
    return value


_READERS: Mapping[str, Callable[[Path, str], pa.Table]] = {
    ".csv": _read_csv,
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
}


def _check_columns(part: pa.Table, told: str, first: str, names: list[str]) -> None:
    others = set(part.column_names) ^ set(names)
    if others:
        _unreadable(f"{told} and {first} have not the same columns: {_named([shown(name) for name in sorted(others)])}")


def _other_types(parts: list[tuple[str, pa.Table]]) -> str:
    def differing() -> Iterator[str]:
        for name in parts[0][1].column_names:
            if len({str(part.schema.field(name).type) for _, part in parts}) > 1:
                yield name

    return _named([shown(name) for name in differing()])


def _named(names: list[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")


def _unreadable(message: str, hint: str = _HINT) -> NoReturn:
    raise Refused(Reason.TABLE_UNREADABLE, message, hint)
