"""What the operator writes into HEADRACE_LOAD: the words that loaders of earlier releases read, and a part of a
revision's pods, which an upgrade of the operator must not change.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

import wire_examples
from headrace.serving.revision import Artifact, render_template
from serving_builders import artifact, model_service
from training_builders import SETTINGS

LOADS = {
    "load-onnx": (model_service(), artifact(1), SETTINGS),
    "load-tensorflow": (model_service(runtime={"name": "tensorflow-serving"}), artifact(1), SETTINGS),
    "load-uri": (
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
