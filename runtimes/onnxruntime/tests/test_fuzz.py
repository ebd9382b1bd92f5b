"""Whatever is in the body, the answer is 200 or 4xx, in JSON, and soon."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from serving_fuzz import assert_answered, examples, nested

SETTINGS = examples(150)

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5)
)
values = nested(scalars)
numbers = st.integers(-3, 60) | st.floats(-1e3, 1e3) | scalars
data = st.lists(numbers, max_size=9) | st.lists(st.lists(numbers, max_size=5), max_size=4) | values
shapes = st.lists(st.integers(-1, 5) | st.integers(), max_size=3) | values
parameters = st.fixed_dictionaries({}, optional={"binary_data_size": st.integers(-2, 40) | scalars}) | values


def inputs(name: str, datatype: str):
    return st.fixed_dictionaries(
        {
            "name": st.just(name) | values,
            "shape": shapes,
            "datatype": st.sampled_from([datatype, datatype, "INT64", "BYTES"]) | values,
            "data": data,
        },
        optional={"parameters": parameters},
    )


def bodies(name: str, datatype: str, output: str):
    return st.fixed_dictionaries(
        {"inputs": st.lists(inputs(name, datatype) | values, max_size=3) | values},
        optional={
            "id": scalars,
            "parameters": st.fixed_dictionaries({"binary_data_output": scalars}) | values,
            "outputs": st.lists(st.fixed_dictionaries({"name": st.just(output) | scalars}), max_size=2) | values,
        },
    )


@SETTINGS
@given(body=bodies("x", "FP32", "y"))
def test_a_made_up_request_of_numbers_is_never_a_server_error(affine_server, body):
    assert_answered(affine_server.infer(body))


@SETTINGS
@given(body=bodies("tokens", "INT32", "probabilities"))
def test_a_made_up_request_of_tokens_is_never_a_server_error(tokens_server, body):
    assert_answered(tokens_server.infer(body))


@SETTINGS
@given(body=values | bodies("x", "FP32", "y"), tail=st.binary(max_size=40), cut=st.integers(-60, 60))
def test_a_made_up_binary_request_is_never_a_server_error(affine_server, body, tail, cut):
    encoded = json.dumps(body).encode()
    header = {"Inference-Header-Content-Length": str(len(encoded) + cut)}
    assert_answered(affine_server.infer(encoded + tail, header))


@SETTINGS
@given(body=st.binary(max_size=200))
def test_any_bytes_are_never_a_server_error(affine_server, body):
    assert_answered(affine_server.infer(body))
    assert_answered(affine_server.infer(body, {"Content-Encoding": "gzip"}))


@SETTINGS
@given(
    rows=st.integers(1, 5),
    seed=st.lists(st.floats(-1e6, 1e6, width=32), min_size=20, max_size=20),
    is_nested=st.booleans(),
)
def test_a_good_request_is_always_answered(affine_server, rows, seed, is_nested):
    flat = seed[: rows * 4]
    nested = [flat[start : start + 4] for start in range(0, len(flat), 4)]
    body = {
        "inputs": [
            {"name": "x", "shape": [rows, 4], "datatype": "FP32", "data": nested if is_nested else flat},
        ]
    }
    reply = affine_server.infer(body)
    assert reply.status == 200
    assert reply.json["outputs"][0]["shape"] == [rows, 3]
