"""Two workers train what one worker trains with the same batches; the loss of one ends the other."""

from __future__ import annotations

import json
import signal

import numpy as np
import pytest

ALL = ["TensorFlow", "ONNX", "Keras"]


@pytest.fixture(scope="module")
def start_workers(start_keras, free_ports):
    def start(count: int, directory, *arguments: str, **settings) -> list:
        addresses = [f"127.0.0.1:{port}" for port in free_ports(count)]
        children = []
        for index in range(count):
            task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
            cluster = {"tf_config": json.dumps(task)} if count > 1 else {}
            result = directory / f"worker-{index}.json"
            common = {"workers": count, "worker_index": index, "checkpoint_dir": directory / "checkpoints"}
            children.append(start_keras("tokens.py", f"--result={result}", *arguments, **common, **cluster, **settings))
        return children

    return start


@pytest.mark.timeout(1800)
def test_two_workers_equal_one_and_export_the_same_model(start_workers, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    results = {}
    for count in (1, 2):
        directory = tmp_path / str(count)
        directory.mkdir()
        settings: dict[str, object] = {"checkpoint_interval": 1}
        if count == 2:  # what one worker exports, and tries, is in other tests
            settings |= {"export_dir": directory / "model", "formats": ",".join(ALL)}
            settings |= {"trial_after_seconds": 0, "trial_left_seconds": 0}
        children = start_workers(count, directory, **settings)
        assert [child.wait() for child in children] == [0] * count, children[0].stderr[-3000:]
        results[count] = json.loads((directory / "worker-0.json").read_text())
    assert children[0].of_type("exported")[-1]["formats"] == ALL
    assert [[trial["formats"] for trial in child.of_type("exportTrial")] for child in children] == [[ALL], []]
    for name, values in results[1]["history"].items():
        np.testing.assert_allclose(results[2]["history"][name], values, atol=1e-4, err_msg=name)
    np.testing.assert_allclose(results[2]["evaluation"], results[1]["evaluation"], atol=1e-4)
    for ours, theirs in zip(results[2]["weights"], results[1]["weights"], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
    described = json.loads((tmp_path / "2" / "model" / "signature.json").read_text())
    assert [tensor["name"] for tensor in described["outputs"]] == ["probabilities"]
    sample = np.load(tmp_path / "2" / "worker-0.json.npz")
    session = onnxruntime.InferenceSession(tmp_path / "2" / "model" / "onnx" / "model.onnx")
    (predicted,) = session.run(["probabilities"], {session.get_inputs()[0].name: sample["x"]})
    np.testing.assert_allclose(predicted, sample["y"], atol=1e-4)


@pytest.mark.timeout(1800)
def test_workers_stop_together_and_the_loss_of_one_ends_the_others(start_workers, tmp_path):
    children = start_workers(2, tmp_path, checkpoint_interval=1000)
    children[0].wait_until(lambda messages: any(m["type"] == "step" for m in messages))
    children[1].signal(signal.SIGTERM)
    assert [child.wait() for child in children] == [75, 75], children[0].stderr[-3000:]
    assert children[0].messages[-1]["type"] == "checkpoint"
    (checkpoint,) = (tmp_path / "checkpoints").glob("ckpt-*")
    resumed = start_workers(2, tmp_path, resume_dir=checkpoint)
    resumed[0].wait_until(lambda messages: any(m["type"] == "step" for m in messages))
    assert resumed[0].of_type("step")[0]["step"] == int(checkpoint.name.removeprefix("ckpt-")) + 1
    resumed[1].signal(signal.SIGKILL)
    assert resumed[1].wait() == -signal.SIGKILL
    assert resumed[0].wait() not in (0, None)


def test_workers_that_are_in_a_long_validation_are_waited_for(start_workers, tmp_path):
    # Alone it would be given up after a third of the time: before the pause is over.
    children = start_workers(2, tmp_path, "--validation-pause=7", checkpoint_interval=1000, stop_seconds=20)
    children[1].wait_for_output("validation")
    children[1].signal(signal.SIGTERM)
    assert [child.wait() for child in children] == [75, 75], children[0].stderr[-3000:]
    assert children[0].messages[-1]["type"] == "checkpoint"
