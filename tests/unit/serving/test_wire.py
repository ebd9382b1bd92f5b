"""What the operator writes into HEADRACE_LOAD: the words that loaders of earlier releases read, and a part of a
revision's pods, which an upgrade of the operator must not change.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import wire_examples
from headrace.serving.revision import Artifact, render_template
from headrace.settings import StorageSettings
from headrace_common.protocol.load import parse_load
from serving_builders import artifact, model_service
from training_builders import SETTINGS

LOADS = {
    "load-onnx-progress": (model_service(), artifact(1), SETTINGS),
    "load-tensorflow-progress": (model_service(runtime={"name": "tensorflow-serving"}), artifact(1), SETTINGS),
    "load-uri-progress": (
        model_service(model={"uri": "s3://team-a/models/1/"}),
        Artifact("s3://team-a/models/1/"),
        replace(SETTINGS, storage=None),
    ),
}


def written(service, model, settings):
    """As the kubelet gives it to the container."""
    [loader] = render_template(service, "text-1", model, settings)["spec"]["initContainers"]
    [value] = [one["value"] for one in loader["env"] if one["name"] == "HEADRACE_LOAD"]
    return value.replace("$$", "$")


@pytest.mark.parametrize("name", LOADS)
def test_what_is_written_is_what_loaders_of_earlier_releases_read(name):
    assert written(*LOADS[name]) == wire_examples.text(name)


STORAGES = st.none() | st.builds(
    StorageSettings, st.sampled_from(["", "http://s3:7070"]), st.sampled_from(["", "eu-1"])
)
ARTIFACTS = st.builds(
    Artifact,
    st.from_regex(r"s3://[a-z]{3,9}/[a-z0-9/.-]{0,9}[a-z]/?", fullmatch=True),
    st.just("") | st.from_regex(r"sha256:[0-9a-f]{64}", fullmatch=True),
    version=st.sampled_from(["", "1", "42"]),
)


@given(st.sampled_from(["onnxruntime", "tensorflow-serving"]), ARTIFACTS, STORAGES)
def test_whatever_the_operator_writes_the_loader_understands(runtime, model, storage):
    text = written(model_service(runtime={"name": runtime}), model, replace(SETTINGS, storage=storage))

    request = parse_load(text)

    assert (request.uri, request.digest) == (model.uri, model.digest or None)
    assert request.as_text() == text
