"""`output.inputExample` on its way from the operator to the adapter."""

from __future__ import annotations

import json
from typing import Any

import pytest

from headrace_trainer.launcher.failures.judge import Failed
from headrace_trainer.launcher.instructions import read_instructions


def config(output: dict[str, Any]) -> str:
    job = {"namespace": "team-a", "name": "text", "uid": "1", "attempt": 1}
    return json.dumps(
        {
            "protocol": 1,
            "job": job,
            "source": {"path": "/source", "entrypoint": "train.py"},
            "storage": {"endpoint": "", "region": ""},
            "tracking": {"url": "http://mlflow", "experiment": "x", "experimentId": "1"},
            "output": {"formats": ["ONNX"], **output},
        }
    )


@pytest.mark.parametrize(
    ("output", "expected"), [({}, True), ({"inputExample": "Rows"}, True), ({"inputExample": "None"}, False)]
)
def test_rows_are_kept_unless_the_spec_says_none(output, expected):
    assert read_instructions(config(output)).keeps_rows is expected


def test_a_word_that_the_launcher_does_not_know_keeps_no_rows_but_ends_it():
    with pytest.raises(Failed, match=r"output\.inputExample must be Rows or None"):
        read_instructions(config({"inputExample": "Some"}))


def test_the_script_s_process_is_told(launch, s3, mlflow):
    bucket = s3.bucket()
    settings = {
        "framework": "Script",
        "storage": {"endpoint": s3.endpoint, "region": "us-east-1"},
        "tracking": mlflow.experiment("example", f"s3://{bucket}/mlflow"),
        "output": {"formats": ["ONNX"], "inputExample": "None"},
    }
    launched = launch("import os; print('told', os.environ['HEADRACE_INPUT_EXAMPLE'])", config=settings)
    launched.wait()
    assert "told None" in launched.log
