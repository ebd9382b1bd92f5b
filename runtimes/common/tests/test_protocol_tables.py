"""What is declared of tables: what is written is what is read, and what cannot be read is told."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace_common.protocol.fields import CannotBeDone, Fields, NotUnderstood
from headrace_common.protocol.tables import (
    Action,
    Balance,
    BalanceMethod,
    Column,
    ColumnType,
    Compression,
    Detect,
    Privacy,
    Split,
    TableFormat,
    Tables,
    TableSchema,
    Write,
    parse_tables,
)

NAME = st.text(min_size=1, max_size=8)
BOUND = st.none() | st.decimals(allow_nan=False, allow_infinity=False, places=3)
COLUMNS = st.builds(
    Column,
    NAME,
    st.sampled_from(ColumnType),
    st.booleans(),
    st.booleans(),
    BOUND,
    BOUND,
    st.lists(NAME, max_size=3).map(tuple),
    st.just("") | NAME,
)
THIRDS = tuple(map(Decimal, ("0.333333", "0.333333", "0.333334")))
SHARES = st.sampled_from([(Decimal(1), Decimal(0), Decimal(0)), (Decimal("0.8"), Decimal(0), Decimal("0.2")), THIRDS])


@st.composite
def declarations(draw):
    split = None
    if draw(st.booleans()):
        shares = draw(SHARES)
        split = Split(*shares, draw(st.integers(0, 2**32 - 1)), group=draw(st.just("") | NAME), time=draw(NAME))
    return Tables(
        dataset=draw(NAME),
        path=draw(st.just("") | NAME),
        schema=draw(st.none() | st.builds(TableSchema, st.lists(COLUMNS, max_size=3).map(tuple), st.booleans())),
        privacy=draw(
            st.none()
            | st.builds(
                Privacy,
                st.dictionaries(NAME.map("p-".__add__), st.sampled_from(Action), max_size=3),
                st.sampled_from(Detect),
                st.sampled_from(["", "DE"]),
            )
        ),
        split=split,
        balance=draw(st.none() | st.builds(Balance, NAME, st.sampled_from(BalanceMethod))) if split else None,
        write=draw(st.builds(Write, st.sampled_from(TableFormat), st.sampled_from(Compression), st.integers(1, 10**8))),
    )


@given(declarations())
def test_what_is_written_is_what_is_read(tables):
    assert parse_tables(Fields(tables.as_json(), "tables")) == tables


WHOLE = {"dataset": "raw", "split": {"train": "0.8", "test": "0.2", "stratify": "y"}}


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        ({"dataset": ""}, NotUnderstood, "tables.dataset must be a text that is not empty"),
        ({"schema": {"strict": "yes"}}, NotUnderstood, "tables.schema.strict must be true or false"),
        (
            {"schema": {"columns": [{"name": "x", "type": "Date"}]}},
            CannotBeDone,
            "tables: type Date: this launcher knows",
        ),
        (
            {"privacy": {"columns": [{"name": "x", "action": "Burn"}]}},
            CannotBeDone,
            "tables: action Burn: this launcher",
        ),
        ({"privacy": {"columns": [{"name": "y", "action": "Drop"}]}}, CannotBeDone, "tables: column y is a label"),
        ({"split": {"train": "most"}}, NotUnderstood, "train must be a decimal"),
        ({"split": {"train": "0.8"}}, CannotBeDone, "tables.split: train is more than 0"),
        ({"split": {"train": "1.5", "test": "-0.5"}}, CannotBeDone, "tables.split: train is more than 0"),
        ({"split": {"train": "0", "test": "1"}}, CannotBeDone, "tables.split: train is more than 0"),
        ({"split": {"train": "1", "time": "t", "stratify": "y"}}, CannotBeDone, "tables.split: time and stratify"),
        ({"split": None, "balance": {"column": "y", "method": "Weights"}}, CannotBeDone, "tables.balance: it is of"),
    ],
)
def test_what_cannot_be_read_or_done_is_told(change, error, sentence):
    with pytest.raises(error) as caught:
        parse_tables(Fields(WHOLE | change, "tables"))
    assert str(caught.value).startswith(sentence)


@pytest.mark.parametrize(
    ("write", "compression"),
    [({}, "Zstd"), ({"format": "CSV"}, "None"), ({"format": "CSV", "compression": "Zstd"}, "Zstd")],
)
def test_the_compression_is_that_of_the_format_where_nothing_is_said(write, compression):
    assert parse_tables(Fields(WHOLE | {"write": write}, "tables")).write.compression == compression


def test_a_later_operator_s_fields_are_left_alone():
    assert parse_tables(Fields(WHOLE | {"later": 1}, "tables")) == parse_tables(Fields(WHOLE, "tables"))


@pytest.mark.parametrize(("action", "is_keyed"), [("Hash", True), ("Tokenize", True), ("Mask", False), ("Keep", False)])
def test_hashes_and_tokens_take_a_key(action, is_keyed):
    tables = {"dataset": "raw", "privacy": {"columns": [{"name": "x", "action": action}]}}
    assert parse_tables(Fields(tables, "tables")).is_keyed is is_keyed
    assert parse_tables(Fields({"dataset": "raw"}, "tables")).is_keyed is False
