"""What a model takes and answers: from signature.json to the text in a tag, and back."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace_common.signature import MAX_TEXT, UNKNOWN, Signature, Tensor, of_file, parse, tag_of

TOKENS = {"name": "tokens", "datatype": "INT32", "shape": [-1, 4]}
SCORE = {"name": "score", "datatype": "FP32", "shape": [-1]}
FLAG = {"name": "flag", "datatype": "BOOL", "shape": []}

NAMES = st.text(min_size=1, max_size=20).filter(lambda name: name.isprintable() and " ".join(name.split()) == name)
TENSORS = st.builds(
    Tensor, st.sampled_from(["FP32", "INT64", "BYTES", "BF16"]), st.lists(st.integers(-1, 10**9), max_size=4).map(tuple)
)
SIDES = st.dictionaries(NAMES, TENSORS, min_size=1, max_size=4)


def written(folder, content):
    path = folder / "signature.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_the_text_is_short_and_can_be_read(tmp_path):
    path = written(tmp_path, {"inputs": [TOKENS, FLAG], "outputs": [SCORE]})

    assert tag_of(path) == '{"inputs":{"flag":"BOOL []","tokens":"INT32 [-1,4]"},"outputs":{"score":"FP32 [-1]"}}'
    assert parse(tag_of(path)) == of_file(path)


def test_the_order_of_names_says_nothing(tmp_path):
    one = tag_of(written(tmp_path, {"inputs": [TOKENS, FLAG], "outputs": [SCORE]}))

    assert tag_of(written(tmp_path, {"outputs": [SCORE], "inputs": [FLAG, TOKENS]})) == one


@given(st.builds(Signature, SIDES, SIDES))
def test_a_text_says_what_it_was_made_of_and_is_one_line(signature):
    text = signature.as_text()

    assert parse(text) == signature
    assert " ".join(text.split()) == text


def with_input(**changed):
    return {"inputs": [TOKENS | changed], "outputs": [SCORE]}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "no JSON",
        "[" * 100_000,
        [],
        {},
        {"inputs": [TOKENS]},
        {"inputs": [], "outputs": [SCORE]},
        {"inputs": {"tokens": TOKENS}, "outputs": [SCORE]},
        {"inputs": ["tokens"], "outputs": [SCORE]},
        {"inputs": [TOKENS, TOKENS], "outputs": [SCORE]},
        with_input(name=""),
        with_input(name=7),
        with_input(name="two  spaces"),
        with_input(name="red\x1b[31m"),
        with_input(name="half \ud800"),
        with_input(name="a" * 300),
        with_input(datatype="float32"),
        with_input(datatype=None),
        with_input(shape=4),
        with_input(shape=[-2]),
        with_input(shape=[True]),
        with_input(shape=[None]),
        {"inputs": [TOKENS | {"name": f"column_{n}"} for n in range(500)], "outputs": [SCORE]},
    ],
)
def test_what_describes_no_model_or_too_much_of_one_is_unknown(tmp_path, content):
    assert tag_of(written(tmp_path, content)) == UNKNOWN


def test_a_model_without_the_file_is_unknown(tmp_path):
    assert tag_of(tmp_path / "signature.json") == UNKNOWN


@pytest.mark.parametrize(
    "text",
    [
        UNKNOWN,
        "",
        "[]",
        '{"inputs":{"x":"FP32 [-1]"}}',
        '{"inputs":{"x":"FP32 [-1]"},"outputs":{}}',
        '{"inputs":{"x":"FP32 [-1]"},"outputs":[]}',
        '{"inputs":{"x":"FP32 [-1]"},"outputs":{"y":"FP32 -1"}}',
        '{"inputs":{"x":"FP32 [-1]"},"outputs":{"y":"FP32 [1,]"}}',
        '{"inputs":{"x":"FP32 [-1]"},"outputs":{"y":7}}',
        '{"inputs":{"x":"FP32 [-1]"},"outputs":{"y":"FP32 [-1]"}}' + " " * MAX_TEXT,
    ],
)
def test_a_text_that_somebody_else_wrote_describes_nothing(text):
    assert parse(text) is None
