"""What the operator writes into HEADRACE_CONFIG: the words that launchers of earlier releases read."""

from __future__ import annotations

from dataclasses import replace

import pytest

import wire_examples
from headrace.training.job import AttemptContext, render_job
from training_builders import SETTINGS, training_job

OUTSIDE = {
    "datasets": [{"name": "corpus", "uri": "s3://team-a/corpus.txt"}, {"name": "images", "uri": "s3://team-a/images/"}],
    "tracking": {"experiment": "text-generation"},
    "output": {"model": "text", "formats": ["TensorFlow", "ONNX"]},
    "checkpoint": {"interval": "5m", "keep": 2},
}
JOBS = {
    "config-gang": (
        training_job(
            workers=2,
            parameters={"epochs": 10, "learning_rate": 0.001, "shuffle": True, "note": "für $(HOME)"},
            startDeadlineSeconds=600,
            **OUTSIDE,
        ),
        AttemptContext(2, "trainer:1", experiment_id="3", bucket="team-a"),
        SETTINGS,
    ),
    "config-alone": (
        training_job(workers=1),
        AttemptContext(1, "trainer:1"),
        replace(SETTINGS, storage=None, tracking=None),
    ),
    "config-program": (
        training_job(
            framework="Script",
            strategy={"type": "MultiWorker", "workers": 3},
            entrypoint="train.sh",
            resources={"limits": {"nvidia.com/gpu": 2}},
            **OUTSIDE | {"checkpoint": {"resume": "Fast", "interval": "90s"}},
        ),
        AttemptContext(1, "trainer:1", experiment_id="3", bucket="team-a"),
        SETTINGS,
    ),
}


def written(job, context, settings):
    """As the kubelet gives it to the container."""
    [container] = render_job(job, context, settings)["spec"]["template"]["spec"]["containers"]
    [value] = [one["value"] for one in container["env"] if one["name"] == "HEADRACE_CONFIG"]
    return value.replace("$$", "$")


@pytest.mark.parametrize("name", JOBS)
def test_what_is_written_is_what_launchers_of_earlier_releases_read(name):
    assert written(*JOBS[name]) == wire_examples.text(name)
