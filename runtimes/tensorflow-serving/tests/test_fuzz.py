"""Whatever is in the body, the answer is 200 or 4xx, in JSON, and soon."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from serving_fuzz import assert_answered, examples, nested

SETTINGS = examples(120)

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
values = nested(scalars)
numbers = st.integers(-3, 60) | st.floats(-1e3, 1e3) | scalars
rows = st.lists(numbers, max_size=9) | st.lists(st.lists(numbers, max_size=4), max_size=4) | values
base64s = st.fixed_dictionaries({"b64": st.text(alphabet="AQ=+ %", max_size=6) | scalars})
texts = st.lists(st.text(max_size=3) | base64s | scalars, max_size=4) | values


def bodies(tensors, *names: str):
    objects = st.fixed_dictionaries({}, optional=dict.fromkeys(names, tensors))
    return st.fixed_dictionaries(
        {}, optional={"instances": tensors | st.lists(objects, max_size=3), "inputs": tensors | objects}
    )


@SETTINGS
@given(body=bodies(rows, "tokens") | values)
def test_a_made_up_request_of_tokens_is_never_a_server_error(text_server, body):
    assert_answered(text_server.predict(body))


@SETTINGS
@given(
    body=bodies(rows, "length", "vector"), signature=st.sampled_from(["", "serving_default", "sum", "types"]) | scalars
)
def test_a_made_up_request_of_numbers_is_never_a_server_error(many_server, body, signature):
    assert_answered(many_server.predict({**body, "signature_name": signature}))


@SETTINGS
@given(body=bodies(texts, "text"))
def test_a_made_up_request_of_texts_is_never_a_server_error(many_server, body):
    assert_answered(many_server.predict({**body, "signature_name": "texts"}))


@SETTINGS
@given(body=st.binary(max_size=200))
def test_any_bytes_are_never_a_server_error(text_server, body):
    assert_answered(text_server.predict(body))
    assert_answered(text_server.predict(body, {"Content-Encoding": "gzip"}))


@SETTINGS
@given(path=st.text(alphabet="/:mv1odels%2Fpreict", max_size=30), method=st.sampled_from(["GET", "POST", "PUT"]))
def test_any_path_is_never_a_server_error(text_server, path, method):
    assert_answered(text_server.call(method, f"/v1/models/{path}", b""))


@SETTINGS
@given(
    batch=st.lists(st.lists(st.integers(0, 49), min_size=3, max_size=3), min_size=1, max_size=5),
    form=st.sampled_from(["instances", "inputs"]),
)
def test_a_good_request_is_always_answered(text_server, batch, form):
    reply = text_server.predict(json.dumps({form: batch}).encode())
    assert reply.status == 200
    assert [len(row) for row in reply.json["predictions" if form == "instances" else "outputs"]] == [50] * len(batch)
