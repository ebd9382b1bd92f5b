"""A TrainingJob without stages behaves and looks as it did before there were any: what is made for it is in
golden/unstaged.json, byte for byte, as the release before made it.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from headrace.training.observed import Observed, Source
from headrace.training.plan import plan
from headrace.training.view import Start
from training_builders import NOW, SETTINGS, training_job

GOLDEN = json.loads((Path(__file__).parent / "golden" / "unstaged.json").read_text(encoding="utf-8"))
START = Start("3", "team-a", "team-a/text-generation")
SEEN = Observed((), (), Source({"train.py": "print()", "train.sh": "true"}, "5"))
ALL_SETTINGS = replace(
    SETTINGS,
    trainer_gpu_image="headrace/trainer-gpu:1",
    package_index_url="https://pypi.example.com/simple",
    image_pull_secrets=("registry",),
)
OUTSIDE: dict[str, Any] = {
    "storage": {"secretRef": {"name": "headrace-storage"}},
    "serviceAccountName": "trainer",
    "datasets": [{"name": "corpus", "uri": "s3://team-a/corpus.txt"}, {"name": "images", "uri": "s3://team-a/images/"}],
    "tracking": {"experiment": "text-generation"},
    "checkpoint": {"interval": "5m", "keep": 2, "gracePeriod": "2m"},
}
JOBS = {
    "least": training_job(workers=1),
    "gang": training_job(
        workers=3,
        parameters={"epochs": 10, "note": "für $(HOME)", "shuffle": True},
        resources={"limits": {"cpu": "2", "nvidia.com/gpu": 1}},
        podTemplate={"spec": {"containers": [{"name": "trainer", "env": [{"name": "X", "value": "1"}]}]}},
        output={"model": "text", "formats": ["TensorFlow", "ONNX"], "inputExample": "None"},
        startDeadlineSeconds=600,
        activeDeadlineSeconds=3600,
        **OUTSIDE,
    ),
    "program": training_job(
        framework="Script",
        strategy={"type": "MultiWorker", "workers": 2},
        image="example.com/own:2",
        entrypoint="train.sh",
        output={"model": "text"},
        **OUTSIDE | {"checkpoint": {"resume": "Fast"}},
    ),
    "source image": training_job(workers=1, source={"image": "example.com/with-script:3"}, **OUTSIDE),
}


def as_text(value: Any) -> str:
    """With the order of fields."""
    return json.dumps(value, indent=1, ensure_ascii=False)


@pytest.mark.parametrize("name", JOBS)
def test_the_first_attempt_is_what_it_was(name):
    planned = plan(JOBS[name], SEEN, START, NOW, ALL_SETTINGS)

    made = {"creates": [made for _, made in planned.creates], "status": planned.status}
    assert as_text(made | {"events": [event.message for event in planned.events]}) == as_text(GOLDEN[name])
