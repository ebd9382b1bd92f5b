"""GPUs that a job has asked for, and its pod has not: there are none here, so that is real."""

from __future__ import annotations

import os
import shutil

import pytest

without_gpus = pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="this machine has NVIDIA's program")


@without_gpus
def test_a_keras_script_ends_before_it_trains_with_the_reason_and_what_to_do(launch):
    launched = launch("import keras\nprint('goes on')", adapter="headrace_trainer.adapters.keras", config={"gpus": 2})
    assert launched.wait(120) == 2, launched.log
    record = launched.record
    assert (record["class"], record["reason"], record["exitCode"]) == ("Config", "GpuNotVisible", 2)
    assert record["message"].startswith("resources ask for 2 GPU(s), and TensorFlow")
    assert "trainer.gpuImage" in record["hint"]
    assert "goes on" not in launched.log


@without_gpus
def test_any_program_is_told_and_goes_on(program, mlflow):
    tracking = mlflow.experiment("gpus", "s3://unused")
    launched = program("print('goes on')", config={"gpus": 1, "tracking": tracking})
    assert launched.wait() == 0, launched.log
    assert "gpus: resources ask for 1 GPU(s), and the container has no nvidia-smi" in launched.log
    assert "goes on" in launched.log
    [run] = mlflow.runs(tracking["experimentId"])
    assert "headrace.warning.gpus" in {tag["key"] for tag in run["data"]["tags"]}


def test_where_the_driver_s_program_is_nothing_is_told(program, tmp_path):
    standin = tmp_path / "bin" / "nvidia-smi"
    standin.parent.mkdir()
    standin.write_text("#!/bin/sh\necho '0, 1, 2, 3, 4, 5'\n")
    standin.chmod(0o755)
    path = os.pathsep.join([str(standin.parent), os.environ["PATH"]])
    launched = program("print('goes on')", config={"gpus": 1}, env={"PATH": path})
    assert launched.wait() == 0, launched.log
    assert "nvidia-smi" not in launched.log


def test_a_program_that_asked_for_none_is_told_nothing(program):
    launched = program("print('goes on')")
    assert launched.wait() == 0, launched.log
    assert "nvidia-smi" not in launched.log
