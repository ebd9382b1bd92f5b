"""HEADRACE_LOAD as the loader takes it: what the operator's tests have is read, the rest is a failure that says why."""

from __future__ import annotations

import json

import pytest

import wire_examples
from headrace_common.s3 import Place
from headrace_loader import config
from headrace_loader.failures import LoadError, Reason


@pytest.mark.parametrize("name", wire_examples.names("load"))
def test_what_operators_of_earlier_releases_wrote_names_the_model(name):
    assert config.parse(wire_examples.text(name)).place == Place("team-a", "models/1")


def test_without_a_storage_it_is_aws_own():
    assert config.parse(wire_examples.text("load-uri")).storage is None


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (None, "HEADRACE_LOAD is not set"),
        ("", "HEADRACE_LOAD is not set"),
        ("{", "HEADRACE_LOAD is not JSON"),
        (json.dumps(json.loads(wire_examples.text("load-onnx")) | {"digset": "sha256:"}), "'digset'"),
    ],
    ids=["absent", "empty", "half", "misspelt"],
)
def test_what_is_no_request_is_refused_with_what_to_do(text, named):
    with pytest.raises(LoadError) as caught:
        config.parse(text)
    assert caught.value.reason is Reason.BAD_CONFIG
    assert named in caught.value.message
    assert "of one release" in caught.value.hint
