"""`strategy.type: Mirrored`: an unchanged script on all devices of its pod, here on two logical devices of a CPU."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import numpy as np
import pytest
from script_process import RunningChild

SCRIPT = Path(__file__).parent / "scripts" / "plain_fit.py"


@pytest.fixture
def start(interpreter, tmp_path):
    children = []

    def start_script(name: str, module: str = "two_devices", **settings: object) -> RunningChild:
        variables = {f"HEADRACE_{key.upper()}": str(value) for key, value in {"seed": 5, **settings}.items()}
        arguments = [f"--result={tmp_path / name}.json"]
        child = RunningChild(SCRIPT, arguments, tmp_path / f"{name}-work", variables, interpreter, module)
        children.append(child)
        return child

    yield start_script
    for child in children:
        child.close()


@pytest.fixture
def result(tmp_path):
    return lambda name: json.loads((tmp_path / f"{name}.json").read_text())


def test_two_devices_train_what_one_trains_with_the_same_batches(start, result):
    assert start("one", "headrace_trainer.adapters.keras").wait() == 0
    mirrored = start("two", strategy="Mirrored")
    assert mirrored.wait() == 0, mirrored.stderr[-3000:]
    one, two = result("one"), result("two")
    assert (one["replicas"], two["replicas"]) == (1, 2)
    for name, values in one["history"].items():
        np.testing.assert_allclose(two["history"][name], values, atol=1e-5, err_msg=name)
    for ours, theirs in zip(two["weights"], one["weights"], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert two["evaluation"] == pytest.approx(one["evaluation"], abs=1e-5)
    np.testing.assert_allclose(two["prediction"], one["prediction"], atol=1e-5)


def test_killed_between_two_steps_it_goes_on_exactly(start, result, tmp_path):
    undisturbed = start("undisturbed", strategy="Mirrored")
    assert undisturbed.wait() == 0, undisturbed.stderr[-3000:]
    kept = {"checkpoint_dir": tmp_path / "checkpoints", "checkpoint_interval": 0.1}
    killed = start("killed", strategy="Mirrored", **kept)
    killed.wait_until(lambda messages: any(m["type"] == "checkpoint" and m["step"] > 12 for m in messages))
    killed.signal(signal.SIGKILL)
    killed.wait()
    newest = max((tmp_path / "checkpoints").glob("ckpt-*"))
    resumed = start("resumed", strategy="Mirrored", resume_dir=newest)
    assert resumed.wait() == 0, resumed.stderr[-3000:]
    assert resumed.of_type("resume")[-1]["exact"] is True, resumed.of_type("resume")
    for weights, expected in zip(result("resumed")["weights"], result("undisturbed")["weights"], strict=True):
        np.testing.assert_array_equal(weights, expected)


def test_told_to_stop_it_keeps_a_checkpoint(start, tmp_path):
    kept = {"checkpoint_dir": tmp_path / "checkpoints", "checkpoint_interval": 1000}
    child = start("stopped", strategy="Mirrored", **kept)
    child.wait_until(lambda messages: any(m["type"] == "step" for m in messages))
    child.signal(signal.SIGTERM)
    assert child.wait() == 75, child.stderr[-3000:]
    assert child.messages[-1]["type"] == "checkpoint"


def test_without_mirrored_a_pod_trains_on_one_device(start, result):
    assert start("single", strategy="SingleWorker").wait() == 0
    assert result("single")["replicas"] == 1


def test_a_trial_of_the_export_changes_nothing_of_a_training_on_several_devices(start, result, tmp_path):
    exported = {"strategy": "Mirrored", "export_dir": tmp_path / "model", "formats": "TensorFlow,ONNX,Keras"}
    undisturbed = start("undisturbed", **exported)
    assert undisturbed.wait() == 0, undisturbed.stderr[-3000:]
    tried = start("tried", **exported, trial_after_seconds=0, trial_left_seconds=0)
    assert tried.wait() == 0, tried.stderr[-3000:]

    assert undisturbed.of_type("exportTrial") == []
    [trial] = tried.of_type("exportTrial")
    assert (trial["formats"], trial["problems"]) == (["TensorFlow", "ONNX", "Keras"], {})
    assert result("tried")["replicas"] == 2
    assert result("tried") == result("undisturbed")


def test_the_model_of_several_devices_is_exported(start, tmp_path):
    pytest.importorskip("onnxruntime")
    child = start("export", strategy="Mirrored", export_dir=tmp_path / "model", formats="TensorFlow,ONNX,Keras")
    assert child.wait() == 0, child.stderr[-3000:]
    assert child.of_type("exported")[-1]["formats"] == ["TensorFlow", "ONNX", "Keras"], child.of_type("exportFailed")
