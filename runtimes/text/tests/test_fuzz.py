"""Whatever is in the body, the answer is 200 or 4xx, and a text that is written beside it is what it is alone."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_fuzz import assert_answered, examples, nested

SETTINGS = examples(150)

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5)
)
values = nested(scalars)
options = st.fixed_dictionaries(
    {},
    optional={
        "max_tokens": st.integers(-1, 12) | values,
        "temperature": st.floats(-1, 3) | values,
        "top_p": st.floats(-1, 2) | values,
        "top_k": st.integers(-2, 400) | values,
        "seed": st.integers() | values,
        "stop": st.text(max_size=3) | st.lists(st.text(max_size=3), max_size=3) | values,
        "stream": st.booleans() | values,
        "stream_options": st.fixed_dictionaries({"include_usage": st.booleans() | scalars}) | values,
        "n": st.sampled_from([1, 2]) | values,
        "logprobs": values,
        "model": st.just("m") | values,
    },
)
prompts = st.text(max_size=60) | st.lists(st.integers(-1, 300), max_size=9) | values
roles = st.sampled_from(["user", "assistant", "x"]) | scalars
messages = st.lists(st.fixed_dictionaries({"role": roles, "content": prompts}), max_size=4)
paths = st.sampled_from(["generate", "generate_stream"])


@pytest.fixture(scope="module")
def undisturbed(server):
    return server.text("Hello", temperature=1.0, seed=1, max_tokens=8)


def assert_others_are_what_they_are(server, undisturbed):
    assert server.text("Hello", temperature=1.0, seed=1, max_tokens=8) == undisturbed


@SETTINGS
@given(prompt=prompts, fields=options)
def test_a_made_up_completion_is_never_a_server_error(server, undisturbed, prompt, fields):
    assert_answered(server.predict({"prompt": prompt, "max_tokens": 5, **fields}))
    assert_others_are_what_they_are(server, undisturbed)


@SETTINGS
@given(messages=messages | values, fields=options)
def test_a_made_up_conversation_is_never_a_server_error(server, messages, fields):
    assert_answered(server.post("/v1/chat/completions", {"messages": messages, "max_tokens": 5, **fields}))


@SETTINGS
@given(
    text=st.text(max_size=60) | values,
    parameters=options | values,
    path=st.sampled_from(["generate", "generate_stream"]),
)
def test_a_made_up_generation_is_never_a_server_error(server, text, parameters, path):
    assert_answered(server.post(f"/v2/models/m/{path}", {"text_input": text, "parameters": parameters}))


@SETTINGS
@given(body=st.binary(max_size=200) | values.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_never_a_server_error(server, undisturbed, body):
    assert_answered(server.predict(body))
    assert_answered(server.predict(body, {"Content-Encoding": "gzip"}))
    assert_others_are_what_they_are(server, undisturbed)
