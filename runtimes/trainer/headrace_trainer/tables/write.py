"""Parts to files: the same table gives the same bytes."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from headrace_common.protocol.reasons import Reason
from headrace_common.protocol.tables import Compression, TableFormat, Write
from headrace_trainer.tables.personal import shown
from headrace_trainer.tables.refusal import Refused
from headrace_trainer.tables.types import texts

_OF_PARQUET: Mapping[Compression, str] = {
    Compression.ZSTD: "zstd",
    Compression.GZIP: "gzip",
    Compression.NONE: "none",
}
_SUFFIXES: Mapping[Compression, str] = {Compression.ZSTD: ".zst", Compression.GZIP: ".gz", Compression.NONE: ""}


def write(part: pa.Table, folder: Path, name: str, how: Write) -> Path:
    """The file that was written: NAME.parquet, or NAME.csv with its compression's suffix. Raises Refused
    (ColumnUnusable).
    """
    if how.format is TableFormat.PARQUET:
        path = folder / f"{name}.parquet"
        pyarrow.parquet.write_table(
            part, path, compression=_OF_PARQUET[how.compression], row_group_size=how.row_group_rows
        )
        return path
    for field in part.schema:
        if pa.types.is_nested(field.type) or pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type):
            raise Refused(
                Reason.COLUMN_UNUSABLE,
                f"write: a CSV file cannot hold the column {shown(field.name)}, which is of type {field.type}",
                "Set spec.prepare.tables.write.format to Parquet, or Drop the column in privacy.",
            )
    path = folder / f"{name}.csv{_SUFFIXES[how.compression]}"
    with _sink(path, how.compression) as sink:
        options = pyarrow.csv.WriteOptions(batch_size=how.row_group_rows, quoting_style="needed")
        pyarrow.csv.write_csv(_in_utc(part), sink, options)
    return path


def _in_utc(part: pa.Table) -> pa.Table:
    for index, field in enumerate(part.schema):
        if pa.types.is_timestamp(field.type) and field.type.tz is not None:
            part = part.set_column(index, field.name, texts(part.column(index)))
    return part


@contextmanager
def _sink(path: Path, compression: Compression) -> Iterator[Any]:
    if compression is Compression.GZIP:  # without its time, and without its name
        with path.open("wb") as raw, gzip.GzipFile("", "wb", mtime=0, fileobj=raw) as packed:
            yield packed
    elif compression is Compression.ZSTD:
        with pa.CompressedOutputStream(str(path), "zstd") as packed:
            yield packed
    else:
        with path.open("wb") as raw:
            yield raw
