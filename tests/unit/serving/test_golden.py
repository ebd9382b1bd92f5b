"""What the release's own servers are rendered as: the templates in `golden`, to the last byte.

A change of one is a change of what every new revision runs. It is made by hand there, and read in the review.
"""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from headrace.serving.revision import render_service, render_template
from serving_builders import artifact, model_service
from training_builders import SETTINGS

GOLDEN = Path(__file__).parent / "golden"
IMAGES = replace(SETTINGS, loader_image="headrace/loader:1")
SPEC = {
    "storage": {"secretRef": {"name": "headrace-storage-read"}},
    "serviceAccountName": "server",
    "resources": {"limits": {"cpu": "1", "memory": "1Gi"}},
    "podTemplate": {"spec": {"nodeSelector": {"pool": "serving"}}},
}


@pytest.mark.parametrize("runtime", ["onnxruntime", "tensorflow-serving", "text"])
def test_the_releases_own_servers_are_rendered_as_the_golden_files_have_it(runtime):
    service = model_service(runtime={"name": runtime}, **SPEC)

    template = render_template(service, "text-1", artifact(7), IMAGES)
    rendered = {"template": template, "service": render_service(service, "text", "text-1", template)}

    assert json.dumps(rendered, indent=2, sort_keys=True) + "\n" == (GOLDEN / f"{runtime}.json").read_text()
