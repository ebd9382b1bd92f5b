"""HEADRACE_LOAD: what is written is what is read, and everything else is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import wire_examples
from headrace_common.protocol.fields import NotUnderstood
from headrace_common.protocol.load import LoadRequest, parse_load
from headrace_common.protocol.storage import Storage
from headrace_common.s3 import Place

GOOD = {"uri": "s3://team-a/x/model", "digest": "sha256:" + "a" * 64, "formats": ["ONNX"], "target": "/models/current"}
FOLDERS = st.from_regex(r"[a-z]{1,8}(/[0-9a-z]{1,8})?", fullmatch=True)


@st.composite
def requests(draw):
    formats = draw(st.lists(st.text(min_size=1, max_size=9), min_size=1, max_size=3, unique=True))
    return LoadRequest(
        uri=draw(st.from_regex(r"s3://[a-z]{3,8}/[a-z0-9./-]{0,8}[a-z]/?", fullmatch=True)),
        digest=draw(st.none() | st.from_regex(r"sha256:[0-9a-f]{64}", fullmatch=True)),
        formats=tuple(formats),
        target=draw(st.from_regex(r"(/[a-z]{1,8}){1,3}", fullmatch=True).map(Path)),
        storage=draw(st.none() | st.builds(Storage, st.text(max_size=9), st.text(max_size=9))),
        layout=draw(st.dictionaries(st.sampled_from(formats), FOLDERS)),
        deadline_seconds=draw(st.integers(1, 999) | st.floats(0.1, 999)),
        max_bytes=draw(st.none() | st.integers(1)),
        progress_port=draw(st.none() | st.integers(1, 65535)),
    )


@given(requests())
def test_what_is_written_is_what_is_read(request):
    assert parse_load(request.as_text()) == request


@pytest.mark.parametrize("name", wire_examples.names("load"))
def test_what_earlier_releases_wrote_is_read_and_written_again(name):
    assert parse_load(wire_examples.text(name)).as_text() == wire_examples.text(name)


def test_a_minimal_request_has_defaults():
    request = parse_load(json.dumps(GOOD))

    assert (request.place, request.target) == (Place("team-a", "x/model"), Path("/models/current"))
    assert request.storage is None
    assert request.deadline_seconds == 120


@pytest.mark.parametrize("storage", [{"endpoint": None}, {"endpoint": ""}, {}], ids=str)
def test_a_storage_without_an_endpoint_is_aws_own(storage):
    assert parse_load(json.dumps(GOOD | {"storage": storage})).storage == Storage("", "")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"uri": "http://x/y"}, "uri"),
        ({"uri": "s3://bucket"}, "uri"),
        ({"uri": "s3:///key"}, "uri"),
        ({"uri": None}, "uri"),
        ({"digest": "md5:1"}, "digest"),
        ({"digest": "sha256:" + "A" * 64}, "digest"),
        ({"digest": ""}, "digest"),
        ({"digset": "sha256:" + "a" * 64}, "digset"),
        ({"formats": []}, "formats"),
        ({"formats": "ONNX"}, "formats"),
        ({"formats": ["ONNX", "ONNX"]}, "formats"),
        ({"target": "models"}, "target"),
        ({"target": "/"}, "target"),
        ({"target": "/models/../etc"}, "target"),
        ({"storage": []}, "storage"),
        ({"storage": {"endpoint": 1}}, "storage.endpoint"),
        ({"storage": {"endpiont": "http://s3"}}, "endpiont"),
        ({"layout": {"TensorFlow": "tensorflow/1"}}, "layout"),
        ({"layout": {"ONNX": "../x"}}, "layout.ONNX"),
        ({"deadlineSeconds": 0}, "deadlineSeconds"),
        ({"deadlineSeconds": True}, "deadlineSeconds"),
        ({"deadlineSeconds": float("inf")}, "deadlineSeconds"),
        ({"maxBytes": float("inf")}, "maxBytes"),
        ({"maxBytes": "1"}, "maxBytes"),
        ({"progressPort": 0}, "progressPort"),
        ({"protocol": 2}, "protocol"),
    ],
    ids=str,
)
def test_a_bad_field_is_named(change, named):
    with pytest.raises(NotUnderstood) as caught:
        parse_load(json.dumps({**GOOD, **change}))
    assert named in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000], ids=["nothing", "half", "list", "deep"])
def test_what_is_no_request_is_told(text):
    with pytest.raises(NotUnderstood, match="HEADRACE_LOAD"):
        parse_load(text)
