"""Several replicas in one process (MirroredStrategy, as with several GPUs in a pod) and several steps at once, killed
and resumed.
"""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from thorough import thorough

# Of several replicas, Keras 3.15 itself can run one step at a time only.
KINDS = {
    "steps at once": ("--replicas=0", "--execution=4"),
    "one replica, steps at once": ("--replicas=1", "--execution=4"),
    "two replicas": ("--replicas=2", "--execution=1"),
    "two replicas, a pipeline": ("--replicas=2", "--execution=1", "--data=pipeline"),
}


@pytest.fixture(scope="module")
def undisturbed(start_keras, tmp_path_factory):
    """What a training comes to that nobody disturbs, by its arguments."""
    known: dict[tuple[str, ...], dict[str, Any]] = {}

    def run(*arguments: str) -> dict[str, Any]:
        if arguments not in known:
            result = tmp_path_factory.mktemp("undisturbed") / "result.json"
            child = start_keras("replicas.py", f"--result={result}", *arguments, seed=5)
            assert child.wait() == 0, child.stderr[-3000:]
            known[arguments] = json.loads(result.read_text())
        return known[arguments]

    return run


@pytest.mark.parametrize(
    "kind",
    ["steps at once", "two replicas", thorough("one replica, steps at once"), thorough("two replicas, a pipeline")],
)
def test_a_killed_fit_ends_like_one_that_was_not(kind: str, start_keras, undisturbed, tmp_path: Path) -> None:
    def start(name: str, **settings):
        return start_keras("replicas.py", f"--result={tmp_path / name}", *KINDS[kind], seed=5, **settings)

    killed = start("killed.json", checkpoint_dir=tmp_path / "checkpoints", checkpoint_interval=0.1)
    killed.wait_until(
        lambda messages: any(m["type"] == "checkpoint" and m["step"] > 20 and m["step"] % 20 for m in messages)
    )
    killed.signal(signal.SIGKILL)
    killed.wait()
    newest = max((tmp_path / "checkpoints").glob("ckpt-*"))
    resumed = start("resumed.json", resume_dir=newest)
    assert resumed.wait() == 0, resumed.stderr[-3000:]

    assert resumed.of_type("resume")[-1]["exact"] is True, resumed.of_type("resume")
    expected, found = undisturbed(*KINDS[kind]), json.loads((tmp_path / "resumed.json").read_text())
    assert found["history"].keys() == expected["history"].keys()
    for name, values in expected["history"].items():
        # A metric's sum is put together from all replicas, and shared out again.
        assert found["history"][name] == pytest.approx(values, rel=1e-6), name
    for weights, expected_weights in zip(found["weights"], expected["weights"], strict=True):
        np.testing.assert_array_equal(weights, expected_weights)


def test_each_replica_trains_on_its_share_of_the_batch(undisturbed) -> None:
    samples, weights = {}, {}
    for replicas in (1, 2):
        found = undisturbed(f"--replicas={replicas}", "--execution=1")
        samples[replicas] = set(found["history"]["samples"])
        weights[replicas] = found["weights"]
    assert samples == {1: {16.0}, 2: {8.0}}
    for one, two in zip(weights[1], weights[2], strict=True):
        np.testing.assert_allclose(two, one, atol=1e-5)
