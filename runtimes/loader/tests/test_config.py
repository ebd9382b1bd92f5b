"""HEADRACE_LOAD: what is accepted, and that everything else is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from headrace_common.s3 import Place
from headrace_loader import config
from headrace_loader.failures import LoadError, Reason

GOOD = {"uri": "s3://team-a/x/model", "digest": "sha256:" + "a" * 64, "formats": ["ONNX"], "target": "/models/current"}


def test_a_minimal_request_has_defaults():
    request = config.parse(json.dumps(GOOD))

    assert (request.place, request.target) == (Place("team-a", "x/model"), Path("/models/current"))
    assert request.storage == config.Storage(endpoint=None, region=None)
    assert request.deadline_seconds == 120


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"uri": "http://x/y"}, "uri"),
        ({"uri": "s3://bucket"}, "uri"),
        ({"uri": "s3:///key"}, "uri"),
        ({"uri": None}, "uri"),
        ({"digest": "md5:1"}, "digest"),
        ({"digest": "sha256:" + "A" * 64}, "digest"),
        ({"digset": "sha256:" + "a" * 64}, "digset"),
        ({"formats": []}, "formats"),
        ({"formats": "ONNX"}, "formats"),
        ({"formats": ["ONNX", "ONNX"]}, "formats"),
        ({"target": "models"}, "target"),
        ({"target": "/"}, "target"),
        ({"target": "/models/../etc"}, "target"),
        ({"storage": []}, "storage"),
        ({"storage": {"endpoint": 1}}, "storage.endpoint"),
        ({"layout": {"TensorFlow": "tensorflow/1"}}, "layout"),
        ({"layout": {"ONNX": "../x"}}, "layout.ONNX"),
        ({"deadlineSeconds": 0}, "deadlineSeconds"),
        ({"deadlineSeconds": True}, "deadlineSeconds"),
        ({"maxBytes": "1"}, "maxBytes"),
        ({"protocol": 2}, "protocol"),
    ],
    ids=str,
)
def test_a_bad_field_is_named(change, named):
    with pytest.raises(LoadError) as caught:
        config.parse(json.dumps({**GOOD, **change}))
    assert caught.value.reason is Reason.BAD_CONFIG
    assert named in caught.value.message


@pytest.mark.parametrize("text", [None, "", "{", "[]", "[" * 100_000])
def test_what_is_no_request_is_refused(text):
    with pytest.raises(LoadError) as caught:
        config.parse(text)
    assert caught.value.reason is Reason.BAD_CONFIG
