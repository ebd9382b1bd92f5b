"""The example of the documentation, unchanged: two workers train what one does, and killed twice it ends the same."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLE = Path(__file__).resolve().parents[4] / "examples" / "text-generator"
WINDOWS = 640  # of 11,520: 20 batches an epoch


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    output = tmp_path_factory.mktemp("corpus") / "corpus.npz"
    subprocess.run([sys.executable, EXAMPLE / "prepare.py", f"--output={output}"], check=True, timeout=120)
    return output


@pytest.fixture(scope="module")
def train(start_keras, corpus):
    """Starts the example's own script."""

    def start(*, epochs: int, **settings):
        arguments = (f"--data={corpus}", f"--epochs={epochs}", f"--windows={WINDOWS}")
        return start_keras(EXAMPLE / "train.py", *arguments, seed=7, formats="TensorFlow", **settings)

    return start


def logged(children) -> dict[tuple[str, int], dict[str, float]]:
    """All metrics by type and step, the later attempt's where two logged the same step."""
    found = {(m["type"], m["step"]): m["metrics"] for child in children for m in child.of_type("step", "epoch")}
    return found | {("evaluate", 0): children[-1].of_type("evaluate")[-1]["metrics"]}


def of_epochs(metrics: dict[tuple[str, int], dict[str, float]]) -> dict[tuple[str, int], dict[str, float]]:
    return {key: values for key, values in metrics.items() if key[0] != "step"}


@pytest.fixture(scope="module")
def weights(interpreter, tmp_path_factory):
    """Of a SavedModel, read where TensorFlow is imported."""
    script = tmp_path_factory.mktemp("reads") / "reads.py"
    script.write_text(READS)

    def read(exported: Path) -> list[np.ndarray]:
        interpreter.run(script, [str(exported / "tensorflow"), str(exported / "weights.npz")])
        with np.load(exported / "weights.npz") as found:
            return [found[name] for name in found.files]

    return read


READS = """
import sys
import numpy as np, tensorflow as tf
np.savez(sys.argv[2], *[variable.numpy() for variable in tf.saved_model.load(sys.argv[1]).variables])
"""


def assert_alike(ours, theirs, tolerance: float) -> None:
    assert ours.keys() == theirs.keys()
    for key, metrics in theirs.items():
        assert ours[key] == pytest.approx(metrics, abs=tolerance), key


@pytest.fixture(scope="module")
def one_epoch(train, weights, tmp_path_factory):
    """One worker, one epoch: what it logged, and its model."""
    directory = tmp_path_factory.mktemp("one")
    child = train(epochs=1, export_dir=directory / "model", checkpoint_dir=directory / "checkpoints")
    assert child.wait() == 0, child.stderr[-3000:]
    return logged([child]), weights(directory / "model")


def test_two_workers_have_the_losses_and_weights_of_one_after_an_epoch(train, weights, free_ports, one_epoch, tmp_path):
    addresses = [f"127.0.0.1:{port}" for port in free_ports(2)]
    children = []
    for index in range(2):
        task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        common = {"export_dir": tmp_path / "model", "checkpoint_dir": tmp_path / "checkpoints"}
        cluster = {"workers": 2, "worker_index": index, "tf_config": json.dumps(task)}
        children.append(train(epochs=1, **common, **cluster))
    assert [child.wait() for child in children] == [0, 0], children[0].stderr[-3000:]

    metrics, final = one_epoch
    both = logged(children[:1])
    assert both.keys() == metrics.keys()
    # Within an epoch the chief logs what it has seen itself: its half of each batch.
    assert_alike(of_epochs(both), of_epochs(metrics), 1e-4)
    for ours, theirs in zip(weights(tmp_path / "model"), final, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_killed_twice_in_mid_epoch_it_ends_as_if_it_never_had_been(train, weights, one_epoch, tmp_path):
    def is_past(step: int):
        return lambda messages: (
            any(m["type"] == "step" and m["step"] >= step for m in messages)
            and any(m["type"] == "checkpoint" for m in messages)
        )

    children, resume = [], {}
    for attempt, step in enumerate((6, 14, None)):
        directory = tmp_path / f"attempt-{attempt}"
        common = {"export_dir": tmp_path / "model", "checkpoint_dir": directory, "checkpoint_interval": 0.05}
        child = train(epochs=1, **common, **resume)
        children.append(child)
        if step is None:
            assert child.wait() == 0, child.stderr[-3000:]
        else:
            child.wait_until(is_past(step))
            child.signal(signal.SIGKILL)
            assert child.wait() == -signal.SIGKILL
            resume = {"resume_dir": max(directory.glob("ckpt-*"))}

    assert all(child.of_type("resume")[-1]["exact"] is True for child in children[1:])
    metrics, final = one_epoch
    assert_alike(logged(children), metrics, 1e-6)
    for ours, theirs in zip(weights(tmp_path / "model"), final, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
