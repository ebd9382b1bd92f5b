"""How long a resume may take: the data that was trained on is gone through again for a bounded time only."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

EPOCHS, STEPS_PER_EPOCH = 90, 5
SLOW = "--delay=0.1"


@pytest.fixture(scope="module")
def at_epoch_80(start_keras, tmp_path_factory) -> Path:
    """A checkpoint of a training that was killed after its 80th epoch."""
    checkpoints = tmp_path_factory.mktemp("killed") / "checkpoints"
    settings = {"checkpoint_dir": checkpoints, "checkpoint_interval": 0.05}
    child = start_keras("repeated_generator.py", "--result=/dev/null", "--delay=0.004", **settings)
    child.wait_until(lambda messages: any(m["type"] == "checkpoint" and m["epoch"] >= 80 for m in messages))
    child.signal(signal.SIGKILL)
    child.wait()
    return max(checkpoints.glob("ckpt-*"))


def gone_on(start_keras, checkpoint: Path, result: Path, *arguments: str, **settings: Any) -> tuple[Any, float]:
    """The attempt, and the seconds until its training went on."""
    begun = time.monotonic()
    child = start_keras("repeated_generator.py", f"--result={result}", *arguments, resume_dir=checkpoint, **settings)
    child.wait_until(lambda messages: any(m["type"] == "resume" for m in messages))
    seconds = time.monotonic() - begun
    assert child.wait() == 0, child.stderr[-3000:]
    return child, seconds


def test_fast_begins_at_once_and_says_that_it_is_not_exact(start_keras, at_epoch_80, tmp_path):
    child, seconds = gone_on(start_keras, at_epoch_80, tmp_path / "result", SLOW, replay_seconds=0)
    assert seconds < 10
    [resumed] = child.of_type("resume")
    assert resumed["exact"] is False
    assert resumed["message"] == "checkpoint.resume is Fast: the data began anew"
    assert_went_on(json.loads((tmp_path / "result").read_text()), resumed)


def test_a_replay_shows_how_far_it_is_and_ends_when_its_time_is_over(start_keras, at_epoch_80, tmp_path):
    child, seconds = gone_on(start_keras, at_epoch_80, tmp_path / "result", SLOW, replay_seconds=3)
    assert 3 <= seconds < 13
    [resumed] = child.of_type("resume")
    assert resumed["exact"] is False
    assert resumed["message"].endswith("batches only: the time of checkpoint.maxReplay, 3 s, was over")
    shown = [(message["epoch"], message["step"]) for message in child.of_type("replay")]
    assert 2 <= len(shown) < 20
    assert shown == sorted(shown)
    assert shown[-1][0] < 80
    assert_went_on(json.loads((tmp_path / "result").read_text()), resumed)


def assert_went_on(result: dict[str, Any], resumed: dict[str, Any]) -> None:
    assert result["steps"] == EPOCHS * STEPS_PER_EPOCH
    assert result["epochs"] == list(range(EPOCHS))
    assert result["loss"][-1] < result["loss"][0] / 10


ARRAYS = """
import keras, numpy as np, time
x = np.random.default_rng(1).normal(size=(320, 4)).astype("float32")
class Slow(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        time.sleep(0.02)
model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
model.compile("adam", "mse")
DATA
model.fit(*data, epochs=6, callbacks=[Slow()], verbose=0)
"""
PIPELINE = "import tensorflow as tf; rows = tf.data.Dataset.from_tensor_slices((x, x[:, :1])).shuffle(320)"
SHUFFLED = f"{PIPELINE}.batch(16); data = [rows.prefetch(2)]"
NOISY = f"{PIPELINE}.map(lambda x, y: (x + tf.random.normal((4,)), y)).batch(16); data = [rows]"
REPEATED = f"{PIPELINE}.repeat().batch(16); data = [rows]"
OF_UNKNOWN_SIZE = f"{PIPELINE}.filter(lambda x, y: x[0] > -9).batch(16); data = [rows]"
# Of 70 MiB when it is saved, most of which is no row: more than can be told before.
LARGE_BUFFER = f"{PIPELINE}.batch(16).shuffle(460_000); data = [rows]"


def interrupted(start_keras, tmp_path, data: str) -> tuple[Any, Any]:
    """The attempt that goes on from the middle of an epoch, and the file that it leaves its weights in."""
    script, steps = tmp_path / "script.py", "steps_per_epoch=20, " if data == REPEATED else ""
    text = ARRAYS.replace("DATA", data).replace("epochs=6", f"{steps}epochs=6")
    script.write_text(text + f"np.savez({str(tmp_path / 'again.npz')!r}, *model.get_weights())\n")
    checkpoints = tmp_path / "checkpoints"
    first = start_keras(script, checkpoint_dir=checkpoints, checkpoint_interval=0.05, replay_seconds=0)
    first.wait_until(lambda messages: any(m["type"] == "checkpoint" and 25 < m["step"] % 60 < 38 for m in messages))
    first.signal(signal.SIGKILL)
    first.wait()
    newest = max(path for path in checkpoints.glob("ckpt-*"))
    second = start_keras(script, resume_dir=newest, replay_seconds=0)
    assert second.wait() == 0, second.stderr[-3000:]
    return second, tmp_path / "again.npz"


@pytest.mark.parametrize(
    ("data", "exact"),
    [("data = (x, x[:, :1], 16)", True), (NOISY, False), (LARGE_BUFFER, False)],
    ids=["arrays", "random pipeline", "large buffer"],
)
def test_what_costs_nothing_is_exact_with_fast_too(data, exact, start_keras, tmp_path):
    second, _ = interrupted(start_keras, tmp_path, data)
    assert second.of_type("resume")[-1]["exact"] is exact
    assert len(second.of_type("epoch")) <= 6


@pytest.mark.parametrize("data", [SHUFFLED, REPEATED, OF_UNKNOWN_SIZE], ids=["shuffled", "repeated", "unknown size"])
def test_fast_goes_on_with_the_next_batch_of_a_pipeline(data, start_keras, tmp_path):
    second, again = interrupted(start_keras, tmp_path, data)
    assert second.of_type("resume")[-1]["exact"] is True
    assert len(second.of_type("epoch")) <= 6
    assert len(second.of_type("replay")) <= 1  # the first batch, which makes the variables
    whole = tmp_path / "whole.py"
    whole.write_text((tmp_path / "script.py").read_text().replace("again.npz", "whole.npz"))
    assert start_keras(whole).wait() == 0
    with np.load(again) as resumed, np.load(tmp_path / "whole.npz") as expected:
        for name in expected.files:
            np.testing.assert_allclose(resumed[name], expected[name], rtol=1e-6, atol=1e-6)
