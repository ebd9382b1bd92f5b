"""What is written: formats, compression, row groups, and the same bytes for the same table."""

from __future__ import annotations

import gzip
import io

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from table_support import prepare, refused

from headrace_common.protocol.reasons import Reason
from headrace_common.protocol.tables import Compression, TableFormat, Write
from headrace_trainer.tables.write import write

LINES = 'x,text,at\n1,"a, ""b""\nc",2026-11-30\n2,,2026-12-01\n'
SCHEMA = {"columns": [{"name": "at", "type": "Timestamp"}]}
CSV = '"x","text","at"\n1,"a, ""b""\nc","2026-11-30 00:00:00.000000Z"\n2,,"2026-12-01 00:00:00.000000Z"\n'


@pytest.mark.parametrize(("compression", "kept"), [("Zstd", "ZSTD"), ("Gzip", "GZIP"), ("None", "UNCOMPRESSED")])
def test_parquet_has_its_compression_and_its_row_groups(tmp_path, compression, kept):
    how = {"format": "Parquet", "compression": compression, "rowGroupRows": 10}
    lines = "x\n" + "".join(f"{row}\n" for row in range(25))
    made, again = (prepare(tmp_path, {"a.csv": lines}, write=how) for _ in range(2))
    file = pyarrow.parquet.ParquetFile(made.folder / "data.parquet")
    groups = [file.metadata.row_group(number) for number in range(file.num_row_groups)]
    assert [group.num_rows for group in groups] == [10, 10, 5]
    assert groups[0].column(0).compression == kept
    assert made.files == again.files
    assert list(made.files) == ["data.parquet", "report.json"]


@pytest.mark.parametrize(
    ("compression", "name", "unpack"),
    [
        ("None", "data.csv", bytes),
        ("Gzip", "data.csv.gz", gzip.decompress),
        ("Zstd", "data.csv.zst", lambda data: pa.input_stream(io.BytesIO(data), compression="zstd").read()),
    ],
)
def test_csv_has_its_compression_and_is_read_again_as_it_was(tmp_path, compression, name, unpack):
    how = {"format": "CSV", "compression": compression}
    made, again = (prepare(tmp_path, {"a.csv": LINES}, write=how, schema=SCHEMA) for _ in range(2))
    assert unpack(made.files[name]).decode() == CSV
    assert made.files == again.files
    second = prepare(tmp_path, {name: made.files[name]}, write=how, schema=SCHEMA)
    assert second.files[name] == made.files[name]


def test_csv_is_not_compressed_where_nothing_is_said(tmp_path):
    """pandas in the image reads no Zstd, and evaluate does not."""
    made = prepare(tmp_path, {"a.csv": LINES}, write={"format": "CSV"}, schema=SCHEMA)
    assert made.files["data.csv"].decode() == CSV


def test_a_column_that_csv_cannot_hold_is_told(tmp_path):
    sink = io.BytesIO()
    pyarrow.parquet.write_table(pa.table({"x": [[1, 2]]}), sink)
    why = refused(tmp_path, {"a.parquet": sink.getvalue()}, write={"format": "CSV"})
    assert (why.reason, "cannot hold the column x" in why.message) == (Reason.COLUMN_UNUSABLE, True)


def test_the_report_says_what_was_done(tmp_path):
    made = prepare(tmp_path, {"a.csv": "x,y\n" + "1,a\n2,b\n" * 5}, split={"train": "0.8", "test": "0.2"})
    report = made.report
    assert report["read"].keys() == {"files", "rows", "bytesInMemory"}
    assert (report["read"]["rows"], report["rows"]) == (10, {"train": 8, "test": 2})
    assert report["columns"] == [{"name": "x", "type": "Integer"}, {"name": "y", "type": "Text"}]
    assert list(made.files) == ["report.json", "test.parquet", "train.parquet"]


def test_times_of_any_zone_are_written_as_utc(tmp_path):
    """Without the system's zones, which an image need not have."""
    part = pa.table({"at": pa.array([0, None], pa.timestamp("us", "no/such/zone"))})
    file = write(part, tmp_path, "data", Write(TableFormat.CSV, Compression.NONE))
    assert file.read_text() == '"at"\n"1970-01-01 00:00:00.000000Z"\n\n'
