"""How far a loader is: what is written is what is read, and what is no answer of a loader's is none."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import wire_examples
from headrace_common.protocol.loading import Loading, parse_loaded, parse_loading

BYTES = st.integers(0, 2**53 - 1)
LOADINGS = st.builds(
    Loading,
    BYTES,
    st.none() | BYTES,
    BYTES,
    st.integers(0, 10**9).map(lambda milliseconds: milliseconds / 1000),
    st.text(max_size=20),
)


@given(LOADINGS)
def test_what_is_written_is_what_is_read(loading):
    assert parse_loading(json.dumps(loading.as_json()).encode()) == loading


@pytest.mark.parametrize("name", wire_examples.names("loading"))
def test_what_earlier_loaders_answered_is_read_and_written_again(name):
    loading = parse_loading(wire_examples.text(name).encode())
    assert loading is not None
    assert loading.as_json() == json.loads(wire_examples.text(name))


@pytest.mark.parametrize("name", wire_examples.names("loaded"))
def test_the_record_of_a_loader_says_that_all_of_it_is_there(name):
    record = json.loads(wire_examples.text(name))
    assert parse_loaded(wire_examples.text(name)) == Loading(
        record["bytes"], record["bytes"], record["fetchedBytes"], record["seconds"]
    )


GOOD = {"protocol": 1, "outcome": "Succeeded", "bytes": 1, "fetchedBytes": 1, "seconds": 1.0}


@pytest.mark.parametrize(
    "change",
    [
        {"protocol": 2},
        {"bytes": None},
        {"bytes": -1},
        {"bytes": 2**60},
        {"bytes": "1"},
        {"bytes": True},
        {"fetchedBytes": 1.5},
        {"seconds": -1},
        {"seconds": float("inf")},
        {"seconds": "1"},
    ],
    ids=str,
)
def test_what_is_no_answer_of_a_loader_is_none(change):
    text = json.dumps(GOOD | change)
    assert parse_loading(text.encode()) is None
    assert parse_loaded(text) is None


@pytest.mark.parametrize("text", ["", "[]", "{", "null", "[" * 100_000, "\ud800"], ids=range(6))
def test_what_is_no_object_is_none(text):
    assert parse_loading(text.encode(errors="replace")) is None
    assert parse_loaded(text) is None


def test_the_record_of_a_failure_is_none_of_a_loader_that_has_loaded():
    assert parse_loaded(json.dumps(GOOD | {"outcome": "Failed"})) is None


def test_a_long_problem_is_cut():
    loading = parse_loading(json.dumps(GOOD | {"problem": "x" * 5000}).encode())
    assert loading is not None
    assert len(loading.problem) == 1024
