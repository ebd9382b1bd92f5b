"""Files to one table: of which kinds, in which order, of which types, and what cannot be read."""

from __future__ import annotations

import datetime
import gzip
import io
import json

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from table_support import prepare, refused

from headrace_common.protocol.reasons import Reason
from headrace_trainer.tables import read
from headrace_trainer.tables.refusal import Refused

CSV = "id,name,zip,rate,ok,day,empty\n1,Ann,01234,1.5,true,2026-11-30,\n2,,99999,2,false,2026-12-01,\n"
TYPED = [
    {"id": 1, "name": "Ann", "zip": "01234", "rate": 1.5, "ok": True, "day": "2026-11-30", "empty": None},
    {"id": 2, "name": None, "zip": "99999", "rate": 2.0, "ok": False, "day": "2026-12-01", "empty": None},
]


def parquet(columns, **options):
    sink = io.BytesIO()
    pyarrow.parquet.write_table(pa.table(columns), sink, **options)
    return sink.getvalue()


LINES = "".join(json.dumps(row) + "\n" for row in TYPED)


@pytest.mark.parametrize(
    "file",
    [
        {"a.csv": CSV},
        {"a.csv": "\ufeff" + CSV.replace("\n", "\r\n")},
        {"a.csv.gz": gzip.compress(CSV.encode())},
        {"a.CSV": CSV, "README.md": "no table", ".hidden": "no"},
        {"a.jsonl": LINES},
        {"a.jsonl.gz": gzip.compress(LINES.encode())},
        {"a.parquet": parquet({name: [row[name] for row in TYPED] for name in TYPED[0]})},
        {"below/a.csv": CSV},
    ],
    ids=lambda file: next(iter(file)),
)
def test_each_kind_of_file_gives_the_same_table(tmp_path, file):
    assert prepare(tmp_path, file).rows("data") == TYPED


def test_what_is_compressed_by_zstd_is_read(tmp_path):
    source = tmp_path / "packed.zst"
    with pa.CompressedOutputStream(str(source), "zstd") as packed:
        packed.write(CSV.encode())
    assert prepare(tmp_path, {"a.csv.zst": source.read_bytes()}).rows("data") == TYPED


def test_files_are_read_in_the_order_of_their_names_and_by_their_columns_names(tmp_path):
    made = prepare(tmp_path, {"b.csv": "x,y\n3,c\n", "a.csv": "x,y\n1,a\n", "a/z.csv": "y,x\nb,2\n"})
    assert [row["x"] for row in made.rows("data")] == [1, 2, 3]
    assert made.report["read"]["files"] == 3


@settings(max_examples=20, deadline=None)
@given(order=st.permutations(["a", "b", "c"]))
def test_the_order_in_which_files_came_to_be_does_not_matter(tmp_path_factory, order):
    files = {f"{name}.csv": f"x\n{name}\n" for name in order}
    made = prepare(tmp_path_factory.mktemp("order"), files)
    assert [row["x"] for row in made.rows("data")] == ["a", "b", "c"]


def test_a_type_is_what_all_rows_of_all_files_are(tmp_path):
    made = prepare(tmp_path, {"a.csv": "x,y\n1,1\n", "b.csv": "x,y\nlarge,2\n"})
    assert [tuple(row.values()) for row in made.rows("data")] == [("1", 1), ("large", 2)]


@pytest.mark.parametrize("value", ["007", "+1", "1e999", "NaN", "NA", " 1", "12345678901234567890", "1,5", "0x1", "-"])
def test_what_is_not_written_as_a_number_is_stays_a_text(tmp_path, value):
    assert prepare(tmp_path, {"a.csv": f'x,y\n"{value}",1\n'}).rows("data") == [{"x": value, "y": 1}]


def test_one_file_of_a_folder_can_be_named(tmp_path):
    files = {"a.csv": "x\n1\n", "b.jsonl": "{}\n"}
    assert prepare(tmp_path, files, path="a.csv").rows("data") == [{"x": 1}]


def test_rows_of_json_may_lack_a_column_and_mixed_values_are_texts(tmp_path):
    made = prepare(tmp_path, {"a.jsonl": '{"x": 1}\n\n{"y": true}\n{"x": "a", "y": NaN}\n'})
    assert made.rows("data") == [{"x": "1", "y": None}, {"x": None, "y": True}, {"x": "a", "y": None}]


def test_types_of_parquet_are_kept(tmp_path):
    columns = {
        "day": [datetime.date(2026, 11, 30)],
        "list": [[1, 2]],
        "small": pa.array([1], pa.int8()),
        "category": pa.array(["a"]).dictionary_encode(),
    }
    made = prepare(tmp_path, {"a.parquet": parquet(columns)})
    assert made.rows("data") == [{"day": datetime.date(2026, 11, 30), "list": [1, 2], "small": 1, "category": "a"}]


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"a.csv": "x,y\n1,2\n3,4,secret\n"}, "a.csv: row 2 has 3 fields, not 2"),
        ({"a.csv": "x,y\n1\n"}, "a.csv: row 1 has 1 fields, not 2"),
        ({"a.csv": b"x\ncaf\xe9\n"}, "a.csv is no .csv file that can be read: it is damaged, or no UTF-8"),
        ({"a.csv": ""}, "a.csv is no .csv file"),
        ({"a.csv": "x,x\n1,2\n"}, "two columns have the name x"),
        ({"a.csv": "x,\n1,2\n"}, "a column has no name"),
        ({"a.csv": "x\n"}, "a.csv: there are no rows"),
        ({"a.csv.gz": b"x\n1\n"}, "a.csv.gz is no .csv file"),
        ({"a.csv.gz": gzip.compress(b"x\n" + b"1\n" * 9999)[:40]}, "a.csv.gz is no .csv file"),
        ({"a.parquet": b"PAR1 no"}, "a.parquet is no .parquet file"),
        ({"a.parquet": b""}, "a.parquet is no .parquet file"),
        ({"a.jsonl": '{"x": 1}\nsecret\n'}, "a.jsonl: line 2 is no JSON object"),
        ({"a.jsonl": '{"x": {"y": "secret"}}\n'}, "line 1: x is no text, number, true or false"),
        ({"a.jsonl": b'{"x": "caf\xe9"}\n'}, "a.jsonl is no .jsonl file"),
        ({"a.csv": "x\n1\n", "b.jsonl": "{}\n"}, "files of several kinds: .csv, .jsonl"),
        ({"a.csv": "x,y\n1,2\n", "b.csv": "x,z\n1,2\n"}, "b.csv and a.csv have not the same columns: y, z"),
        ({"a.parquet": parquet({"x": [1]}), "b.parquet": parquet({"x": ["a"]})}, "x: a column has other types"),
        ({"a.xlsx": b"x"}, "there is no .csv, .jsonl or .parquet file"),
    ],
)
def test_what_cannot_be_read_is_told_without_its_content(tmp_path, files, told):
    why = refused(tmp_path, files)
    assert why.reason is Reason.TABLE_UNREADABLE
    assert told in why.message
    assert "secret" not in why.message


@pytest.mark.parametrize(
    ("lines", "separator"),
    [
        ('household;email;age\n1;a@b.example;7\n2;"x;y";8\n', "semicolons"),
        ("household;rate\n1;0,5\n", "semicolons"),
        ("household;rate\n", "semicolons"),
        ("household|age\n1|7\n", "bars"),
        ("household\tage\n1\t7\n", "tabs"),
    ],
)
def test_another_separator_than_a_comma_is_told(tmp_path, lines, separator):
    why = refused(tmp_path, {"a.csv": lines}, privacy={"columns": [{"name": "household", "action": "Drop"}]})
    assert why.reason is Reason.TABLE_UNREADABLE
    assert f"a.csv: fields are separated by commas, and this file seems to have {separator}" in why.message
    assert "with commas" in why.hint


def test_one_column_whose_name_has_a_separator_is_read_where_its_values_have_none(tmp_path):
    assert prepare(tmp_path, {"a.csv": "x;y\n1\n2;3\n"}).rows("data") == [{"x;y": "1"}, {"x;y": "2;3"}]


@pytest.mark.parametrize("path", ["b.csv", "../raw-0/../../x"])
def test_a_path_that_is_not_there_is_told(tmp_path, path):
    why = refused(tmp_path, {"a.csv": "x\n1\n"}, path=path)
    assert (why.reason, f"there is no {path}" in why.message) == (Reason.TABLE_UNREADABLE, True)


def test_a_column_that_is_too_large_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(read, "_MOST_BYTES", 100)
    why = refused(tmp_path, {"a.csv": "x,y\n" + "1,some text\n" * 20})
    assert (why.reason, "y has more than 2 GiB of values" in why.message) == (Reason.TABLE_UNREADABLE, True)


def test_a_long_row_is_read(tmp_path):
    text = "x" * (3 << 20)
    assert prepare(tmp_path, {"a.csv": f"x,y\n1,{text}\n"}).rows("data") == [{"x": 1, "y": text}]


WITHOUT_HEADER = "ann@example.com,34\nbob@example.com,35\n"


@pytest.mark.parametrize(
    "tables",
    [
        {"privacy": {"columns": [{"name": "mail", "action": "Drop"}]}},
        {"schema": {"strict": True, "columns": [{"name": "mail", "type": "Text"}]}},
        {"split": {"train": "1", "group": "mail"}},
        {"privacy": {"detect": "Refuse"}},
    ],
)
def test_the_first_row_of_a_file_without_a_header_is_not_told(tmp_path, tables):
    why = refused(tmp_path, {"a.csv": WITHOUT_HEADER}, **tables)
    assert "ann@" not in why.message
    assert "(not shown)" in why.message


@pytest.mark.parametrize(
    "files",
    [
        {"a.csv": "ann@x.de,ann@x.de\n1,2\n"},
        {"a.csv": "x\n1\n", "b.csv": "ann@x.de\n1\n"},
        {"a.jsonl": '{"ann@x.de": [1]}\n'},
    ],
)
def test_nor_is_it_of_one_that_cannot_be_read(tmp_path, files):
    assert "ann@" not in refused(tmp_path, files).message


def test_whole_numbers_that_a_float_would_change_stay_as_they_are_written(tmp_path):
    made = prepare(tmp_path, {"a.jsonl": '{"id": 9007199254740993}\n{"id": 1.5}\n{"id": null}\n'})
    assert [row["id"] for row in made.rows("data")] == ["9007199254740993", "1.5", None]


def test_lines_may_begin_with_a_mark_of_their_encoding(tmp_path):
    made = prepare(tmp_path, {"a.jsonl": "\ufeff" + '{"id": 7}\n'})
    assert made.rows("data") == [{"id": 7}]


@pytest.mark.parametrize(
    ("values", "made"),
    [
        (pa.array([b"\xff" * 16, None], pa.uuid()), ["ffffffff-ffff-ffff-ffff-ffffffffffff", None]),
        (pa.array(["{}", None], pa.json_()), ["{}", None]),
        (pa.array([b"\xff\x00", None], pa.binary(2)), [b"\xff\x00", None]),
        (pa.array([b"\xff", None], pa.binary_view()), [b"\xff", None]),
        (pa.array(["a", None], pa.string_view()), ["a", None]),
        (pa.array([1.5, None], pa.float16()), [1.5, None]),
    ],
    ids=lambda one: str(one.type) if isinstance(one, pa.Array) else "",
)
def test_types_that_few_programs_have_are_read_as_what_they_are_made_of(tmp_path, values, made):
    files = {"a.parquet": parquet({"v": values, "x": [1, 2]})}
    split = {"train": "0.5", "test": "0.5", "stratify": "v"}
    parts = prepare(tmp_path, files, split=split)
    assert sorted((row["x"], row["v"]) for part in ("train", "test") for row in parts.rows(part)) == [
        (1, made[0]),
        (2, made[1]),
    ]
    hashed = prepare(tmp_path, files, privacy={"columns": [{"name": "v", "action": "Hash"}], "detect": "Report"})
    assert [row["v"] is None for row in hashed.rows("data")] == [False, True]


def test_hidden_files_and_folders_are_passed_over(tmp_path):
    """An editor's copies would be the same rows twice, and in two parts."""
    copies = {".ipynb_checkpoints/a-checkpoint.csv": "x\n1\n", "._a.csv": "no table"}
    assert prepare(tmp_path, {"a.csv": "x\n1\n", **copies}).rows("data") == [{"x": 1}]


@pytest.mark.parametrize("path", ["", "b.csv", "deep"])
def test_a_link_that_leads_out_of_the_dataset_is_not_followed(tmp_path, path):
    """In a volume somebody may have put one to what only the pod may read."""
    folder, outside = tmp_path / "raw", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    (folder / "a.csv").write_text("x\n1\n")
    (outside / "environ.csv").write_text("KEY=secret\n1\n")
    (folder / "b.csv").symlink_to(outside / "environ.csv")
    (folder / "deep").symlink_to(outside)
    with pytest.raises(Refused) as raised:
        read.read(folder, path, "raw")
    assert raised.value.reason is Reason.TABLE_UNREADABLE
    assert "secret" not in raised.value.message


def test_a_link_within_the_dataset_is_a_file(tmp_path):
    (tmp_path / "a.csv").write_text("x\n1\n")
    (tmp_path / "b.csv").symlink_to("a.csv")
    assert read.read(tmp_path, "", "raw").data.num_rows == 2
