"""`strategy.type: Mirrored`: an unchanged script on all devices of its pod, here on two logical devices of a CPU."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import numpy as np
import pytest
from script_process import RunningChild

SCRIPT = Path(__file__).parent / "scripts" / "plain_fit.py"
FORMATS = "TensorFlow,ONNX,Keras"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("mirrored")


@pytest.fixture(scope="module")
def start(interpreter, folder):
    children = []

    def start_script(name: str, module: str = "two_devices", **settings: object) -> RunningChild:
        variables = {f"HEADRACE_{key.upper()}": str(value) for key, value in {"seed": 5, **settings}.items()}
        arguments = [f"--result={folder / name}.json"]
        work = folder / f"{name}-work"
        child = RunningChild(SCRIPT, arguments, work, variables, interpreter, module, in_step=True)
        children.append(child)
        return child

    yield start_script
    for child in children:
        child.close()


@pytest.fixture(scope="module")
def result(folder):
    return lambda name: json.loads((folder / f"{name}.json").read_text())


@pytest.fixture(scope="module")
def undisturbed(start, folder):
    """On both devices, to the end and with an export."""
    child = start("undisturbed", strategy="Mirrored", export_dir=folder / "undisturbed", formats=FORMATS)
    assert child.wait() == 0, child.stderr[-3000:]
    return child


def test_two_devices_train_what_one_trains_with_the_same_batches(start, result, undisturbed):
    assert start("one", "headrace_trainer.adapters.keras").wait() == 0
    one, two = result("one"), result("undisturbed")
    assert (one["replicas"], two["replicas"]) == (1, 2)
    for name, values in one["history"].items():
        np.testing.assert_allclose(two["history"][name], values, atol=1e-5, err_msg=name)
    for ours, theirs in zip(two["weights"], one["weights"], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert two["evaluation"] == pytest.approx(one["evaluation"], abs=1e-5)
    np.testing.assert_allclose(two["prediction"], one["prediction"], atol=1e-5)


def test_killed_between_two_steps_it_goes_on_exactly(start, result, undisturbed, tmp_path):
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


def test_a_trial_of_the_export_changes_nothing_of_a_training_on_several_devices(start, result, undisturbed, tmp_path):
    exported = {"strategy": "Mirrored", "export_dir": tmp_path / "model", "formats": FORMATS}
    tried = start("tried", **exported, trial_after_seconds=0, trial_left_seconds=0)
    assert tried.wait() == 0, tried.stderr[-3000:]

    assert undisturbed.of_type("exportTrial") == []
    [trial] = tried.of_type("exportTrial")
    assert (trial["formats"], trial["problems"]) == (["TensorFlow", "ONNX", "Keras"], {})
    assert result("tried")["replicas"] == 2
    assert result("tried") == result("undisturbed")


def test_the_model_of_several_devices_is_exported(undisturbed):
    pytest.importorskip("onnxruntime")
    [exported] = undisturbed.of_type("exported")
    assert exported["formats"] == FORMATS.split(","), undisturbed.of_type("exportFailed")
