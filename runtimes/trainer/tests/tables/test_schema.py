"""What is declared of columns holds, or is told with numbers of rows, and with values that are not private."""

from __future__ import annotations

import datetime
import math

import pyarrow as pa
import pytest
from table_support import prepare, refused

from headrace_common.protocol.reasons import Reason
from headrace_common.protocol.tables import ColumnType
from headrace_trainer.tables.types import parse

COLUMNS = [
    {"name": "age", "type": "Integer", "min": "0", "max": "130"},
    {"name": "rate", "type": "Number", "min": "0.5", "nullable": True},
    {"name": "city", "type": "Text", "oneOf": ["Ulm", "Bonn"], "matches": "^[A-Z]"},
    {"name": "ok", "type": "Boolean"},
    {"name": "at", "type": "Timestamp"},
    {"name": "id", "type": "Text", "unique": True},
]
GOOD = "age,rate,city,ok,at,id\n7,,Ulm,True,2026-11-30T08:00:00+01:00,007\n8,NaN,Bonn,0,2026-11-30,8\n"
BAD = (
    "age,rate,city,ok,at,id\n"
    "7,0.6,Ulm,true,2026-11-30,1\n"
    "-1,abc,ulm,maybe,30.11.2026,1\n"
    "131,0.4,Köln,,2026-13-01,2\n"
    ",inf,,1,,3\n"
)


def test_columns_have_the_types_that_are_declared(tmp_path):
    made = prepare(tmp_path, {"a.csv": GOOD}, schema={"strict": True, "columns": COLUMNS})
    seven = datetime.datetime(2026, 11, 30, 7, tzinfo=datetime.UTC)
    first, second = made.rows("data")
    assert first == {"age": 7, "rate": None, "city": "Ulm", "ok": True, "at": seven, "id": "007"}
    assert (second["ok"], second["at"], second["id"]) == (False, seven.replace(hour=0), "8")
    types = [column["type"] for column in made.report["columns"]]
    assert types == ["Integer", "Number", "Text", "Boolean", "Timestamp", "Text"]


def test_all_that_does_not_hold_is_told_at_once_with_rows_and_values(tmp_path):
    why = refused(tmp_path, {"a.csv": BAD}, schema={"columns": COLUMNS})
    assert why.reason is Reason.SCHEMA_VIOLATED
    for told in (
        "rate: 2 values are no Number (row 2: 'abc'; row 4: 'inf')",
        "ok: 1 values are no Boolean (row 2: 'maybe')",
        "at: 2 values are no Timestamp (row 2: '30.11.2026'; row 3: '2026-13-01')",
        "age: 1 values are missing (row 4)",
        "age: 1 values are below 0 (row 2: '-1')",
        "age: 1 values are above 130 (row 3: '131')",
        "rate: 1 values are below 0.5 (row 3: '0.4')",
        "more",
    ):
        assert told in why.message, why.message


@pytest.mark.parametrize(
    ("column", "told"),
    [
        (2, "city: 1 values do not match ^[A-Z] (row 2: 'ulm')"),
        (2, "city: 2 values are none of oneOf (row 2: 'ulm'; row 3: 'Köln')"),
        (2, "city: 1 values are missing (row 4)"),
        (5, "id: 2 values are there more than once (row 1: '1'; row 2: '1')"),
    ],
)
def test_each_kind_of_fault_has_words(tmp_path, column, told):
    assert told in refused(tmp_path, {"a.csv": BAD}, schema={"columns": [COLUMNS[column]]}).message


def test_columns_that_are_missing_or_too_many_are_told(tmp_path):
    columns = [{"name": "x", "type": "Integer"}, {"name": "z", "type": "Text"}]
    why = refused(tmp_path, {"a.csv": "x,y\n1,2\n"}, schema={"strict": True, "columns": columns})
    assert "there is no column z; columns that the schema does not name: y" in why.message
    assert prepare(tmp_path, {"a.csv": "x,y\n1,2\n"}, schema={"columns": columns[:1]}).rows("data") == [
        {"x": 1, "y": 2}
    ]


def test_rows_are_told_by_file(tmp_path):
    files = {"a.csv": "x\n1\n2\n", "b.csv": "x\n3\n-1\n", "c.csv": "x\n-2\n"}
    why = refused(tmp_path, files, schema={"columns": [{"name": "x", "type": "Integer", "min": "0"}]})
    assert "x: 2 values are below 0 (row 2 of b.csv: '-1'; row 1 of c.csv: '-2')" in why.message


@pytest.mark.parametrize("value", ["ann@example.com", "DE89370400440532013000", "+49 30 901820"])
def test_a_value_that_is_private_or_looks_so_is_not_told(tmp_path, value):
    columns = [{"name": "x", "type": "Integer"}]
    why = refused(tmp_path, {"a.csv": f"x\n{value}\n"}, schema={"columns": columns})
    assert "x: 1 values are no Integer (row 1: (not shown))" in why.message
    private = {"columns": [{"name": "x", "action": "Mask"}]}
    why = refused(tmp_path, {"a.csv": "x\nAnn\n"}, schema={"columns": columns}, privacy=private)
    assert "row 1; values of a private column are not shown" in why.message
    assert "Ann" not in why.message


def test_an_expression_that_is_none_is_told(tmp_path):
    columns = [{"name": "x", "type": "Text", "matches": "["}]
    why = refused(tmp_path, {"a.csv": "x\n1\n"}, schema={"columns": columns})
    assert (why.reason, "matches is no regular expression" in why.message) == (Reason.BAD_CONFIG, True)


def test_whole_numbers_of_a_table_with_missing_values_are_integers(tmp_path):
    columns = [{"name": "x", "type": "Integer", "nullable": True}]
    made = prepare(tmp_path, {"a.jsonl": '{"x": 1.0}\n{"x": null}\n'}, schema={"columns": columns})
    assert [row["x"] for row in made.rows("data")] == [1, None]
    why = refused(tmp_path, {"a.jsonl": '{"x": 1.5}\n{"x": 2}\n'}, schema={"columns": columns})
    assert "x: 1 values are no Integer (row 1: '1.5')" in why.message


@pytest.mark.parametrize(
    ("values", "kind", "bad"),
    [
        (pa.array([2**63 - 1, 2**63], pa.uint64()), ColumnType.INTEGER, (1,)),
        (pa.array([1, 0], pa.int8()), ColumnType.BOOLEAN, (0, 1)),
        (pa.array([True, None]), ColumnType.NUMBER, (0,)),
        (pa.array([1.5, math.nan, math.inf, 2.0]), ColumnType.INTEGER, (0, 2)),
        (pa.array([1.5, math.nan, math.inf]), ColumnType.NUMBER, (2,)),
        (pa.array([datetime.time(1)]), ColumnType.TIMESTAMP, (0,)),
        (pa.array([datetime.date(2026, 1, 1)]), ColumnType.TIMESTAMP, ()),
        (pa.array([1]), ColumnType.TEXT, (0,)),
        (pa.array(["9" * 18, "9" * 19, "1.0", " 1 ", "+1", "", None]), ColumnType.INTEGER, (1, 2, 5)),
        (pa.array(["1e3", ".5", "1.", "1e400", "nan", "-", "1_000"]), ColumnType.NUMBER, (3, 5, 6)),
        (pa.array(["true", "FALSE", "1", "0", "yes"]), ColumnType.BOOLEAN, (4,)),
        (pa.array(["2026-11-30", "2026-11-30T08:30:00Z", "1", "30/11/2026"]), ColumnType.TIMESTAMP, (2, 3)),
    ],
)
def test_what_is_no_value_of_a_type_is_a_row_and_nothing_else_is(values, kind, bad):
    parsed = parse(pa.chunked_array([values]), kind)
    assert parsed.bad == bad
    assert len(parsed.values) == len(values)


@pytest.mark.parametrize(
    ("matches", "good", "bad"),
    [("^(?=x)x.$", "x1", "yx"), (r"(.)\1", "aa", "ab"), (r"^\w+$", "größe", "a b"), ("x$", "x", "xy")],
)
def test_an_expression_is_one_of_python(tmp_path, matches, good, bad):
    columns = [{"name": "x", "type": "Text", "matches": matches, "nullable": True}]
    prepare(tmp_path, {"a.csv": f"x,y\n{good},1\n,2\n"}, schema={"columns": columns})
    why = refused(tmp_path, {"a.csv": f"x,y\n{good},1\n{bad},2\n"}, schema={"columns": columns})
    assert f"x: 1 values do not match {matches} (row 2: '{bad}')" in why.message


def test_values_of_a_column_whose_name_tells_are_not_shown(tmp_path):
    columns = [{"name": "last_name", "type": "Integer"}, {"name": "called", "type": "Integer"}]
    why = refused(
        tmp_path,
        {"a.csv": "last_name,called\nLee,030 901820\n"},
        schema={"columns": columns},
        privacy={"detect": "Report", "region": "DE"},
    )
    assert "last_name: 1 values are no Integer (row 1: (not shown))" in why.message
    assert "called: 1 values are no Integer (row 1: (not shown))" in why.message


def test_all_whole_numbers_of_64_bits_are_integers(tmp_path):
    columns = [{"name": "x", "type": "Integer"}]
    numbers = [1234567890123456789, 2**63 - 1, -(2**63), 0]
    made = prepare(tmp_path, {"a.csv": "x\n" + "\n".join(map(str, numbers))}, schema={"columns": columns})
    assert [row["x"] for row in made.rows("data")] == numbers
    why = refused(tmp_path, {"a.csv": f"x\n{2**63}\n{-(2**63) - 1}\n"}, schema={"columns": columns})
    assert "x: 2 values are no Integer (row 1: '9223372036854775808'; row 2: " in why.message


def test_three_of_many_rows_are_told_each_with_its_value(tmp_path):
    lines = "x\n" + "".join(f"{number}\n" for number in range(9))
    why = refused(tmp_path, {"a.csv": lines}, schema={"columns": [{"name": "x", "type": "Integer", "min": "4"}]})
    assert "x: 4 values are below 4 (row 1: '0'; row 2: '1'; row 3: '2'; ...)" in why.message


def test_columns_that_the_schema_misses_are_told_before_those_of_privacy(tmp_path):
    tables = {
        "schema": {"columns": [{"name": "age", "type": "Integer"}]},
        "privacy": {"columns": [{"name": "mail", "action": "Drop"}]},
    }
    why = refused(tmp_path, {"a.csv": "years,town\n1,Ulm\n"}, **tables)
    assert (why.reason, "there is no column age" in why.message) == (Reason.SCHEMA_VIOLATED, True)
    why = refused(tmp_path, {"a.csv": "age,town\nx,Ulm\n"}, **tables)
    assert why.reason is Reason.COLUMN_NOT_FOUND


def test_a_bound_may_be_beyond_64_bits(tmp_path):
    columns = [{"name": "x", "type": "Integer", "max": "10000000000000000000"}]
    assert prepare(tmp_path, {"a.csv": "x\n1\n"}, schema={"columns": columns}).rows("data") == [{"x": 1}]
    columns = [{"name": "x", "type": "Integer", "min": "10000000000000000000"}]
    assert "1 values are below" in refused(tmp_path, {"a.csv": "x\n1\n"}, schema={"columns": columns}).message
