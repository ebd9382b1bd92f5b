"""Loops of the script's own: seen, saved, and gone on with, whether they know of it or not."""

from __future__ import annotations

import functools
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from thorough import thorough

KINDS = ["eager", "function", "train_on_batch", "gan", "eager_gan"]
SLOW = "--delay=0.03"
STEPS = 60  # of own_loop.py


@pytest.fixture(scope="module")
def killed(start_keras, tmp_path_factory):
    """A loop of a kind that was killed, and its newest checkpoint."""

    @functools.cache
    def kill(kind: str) -> tuple[Any, Path]:
        checkpoints = tmp_path_factory.mktemp("killed")
        settings = {"checkpoint_dir": checkpoints, "checkpoint_interval": 0.2}
        child = start_keras("own_loop.py", f"--kind={kind}", "--ask", SLOW, **settings)
        child.wait_until(lambda messages: any(m["type"] == "checkpoint" and m["step"] > 5 for m in messages))
        child.signal(signal.SIGKILL)
        child.wait()
        return child, max(checkpoints.glob("ckpt-*"))

    return kill


@pytest.fixture(scope="module")
def undisturbed(start_keras, tmp_path_factory):
    """A loop of a kind that was not, and its result."""

    @functools.cache
    def run(kind: str) -> tuple[Any, list[Any]]:
        path = tmp_path_factory.mktemp("undisturbed") / "whole.npz"
        child = start_keras("own_loop.py", f"--kind={kind}", f"--result={path}")
        assert child.wait() == 0, child.stderr[-3000:]
        return child, result(path)

    return run


def result(path: Path) -> list[Any]:
    with np.load(path) as arrays:
        return [arrays[name] for name in arrays.files]


@pytest.mark.parametrize("kind", KINDS)
def test_a_loop_that_asks_ends_as_if_nothing_had_happened(kind, start_keras, killed, undisturbed, tmp_path):
    first, newest = killed(kind)
    assert first.of_type("step")
    step = next(m["step"] for m in first.of_type("checkpoint") if m["dir"] == str(newest))
    second = start_keras(
        "own_loop.py", f"--kind={kind}", "--ask", f"--result={tmp_path / 'again.npz'}", resume_dir=newest
    )
    assert second.wait() == 0, second.stderr[-3000:]
    assert second.stdout == f"starts at {step}\n"
    resumed = second.of_type("resume")[-1]
    assert (resumed["step"], resumed["exact"]) == (step, True), resumed
    assert all(message["step"] > step for message in second.of_type("step"))
    _, expected = undisturbed(kind)
    for one, other in zip(expected, result(tmp_path / "again.npz"), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", [thorough("function"), "train_on_batch"])
def test_a_loop_that_does_not_ask_trains_on_and_nobody_calls_that_exact(kind, start_keras, killed):
    _, newest = killed(kind)
    second = start_keras("own_loop.py", f"--kind={kind}", resume_dir=newest)
    assert second.wait() == 0, second.stderr[-3000:]
    [resumed] = second.of_type("resume")
    assert resumed["exact"] is False
    assert resumed["message"] == "not exact: the loop does not know of the resume"
    [warned] = second.of_type("warning")
    assert warned["subject"] == "resume"
    assert "headrace_client.resumed_step()" in warned["message"]
    assert second.of_type("step")[-1]["step"] > 60


def test_metrics_of_a_loop_are_what_its_step_returns(undisturbed):
    seen = {}
    for kind in KINDS:
        child, _ = undisturbed(kind)
        seen[kind] = {name for message in child.of_type("step") for name in message["metrics"]}
        assert child.of_type("step")[-1]["step"] == STEPS
    alone = {"eager": {"loss"}, "function": {"loss"}, "train_on_batch": {"loss", "mae"}, "gan": {"loss", "fooled"}}
    assert seen == {**alone, "eager_gan": {"adam/loss", "sgd/loss"}}


@pytest.mark.parametrize(
    ("kind", "more"), [("eager", []), thorough("function", []), ("function", ["--break-when-stopped"])]
)
def test_a_stopped_loop_is_saved_between_two_steps_and_ends(kind, more, start_keras, tmp_path):
    checkpoints = tmp_path / "checkpoints"
    settings = {"checkpoint_dir": checkpoints, "checkpoint_interval": 300}
    child = start_keras("own_loop.py", f"--kind={kind}", "--steps=5000", SLOW, *more, **settings)
    child.wait_until(lambda messages: any(m["type"] == "step" and m["step"] >= 8 for m in messages))
    child.signal(signal.SIGTERM)
    assert child.wait(20) == 75, child.stderr[-3000:]
    [checkpoint] = child.of_type("checkpoint")
    assert checkpoint["step"] >= 8


@pytest.mark.parametrize("of_nobody", [False, True], ids=["unbuilt model", "variables of nobody"])
def test_a_loop_whose_variables_are_known_with_its_first_step_gets_its_state_then(of_nobody, start_keras, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(OF_NOBODY if of_nobody else UNBUILT)
    first = start_keras(script, checkpoint_dir=tmp_path / "checkpoints", checkpoint_interval=0.2)
    first.wait_until(lambda messages: any(m["type"] == "checkpoint" and m["step"] > 5 for m in messages))
    first.signal(signal.SIGKILL)
    first.wait()
    newest = max((tmp_path / "checkpoints").glob("ckpt-*"))
    second = start_keras(script, resume_dir=newest)
    assert second.wait() == 0, second.stderr[-3000:]
    assert second.of_type("resume")[-1]["step"] == int(newest.name.removeprefix("ckpt-"))
    iterations = int(second.stdout.split()[-1])
    assert iterations == 40 + second.of_type("resume")[-1]["step"]


UNBUILT = """
import time, keras, numpy as np, tensorflow as tf

class Own(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(1)

    def call(self, x):
        return self.dense(x)

model, optimizer = Own(), keras.optimizers.Adam()

@tf.function
def step(x):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(model(x) ** 2)
    optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
    return loss

for _ in range(40):
    step(np.ones((4, 3), "float32"))
    time.sleep(0.03)
print("iterations", int(optimizer.iterations.numpy()))
"""

OF_NOBODY = """
import time, keras, tensorflow as tf

weights, optimizer = tf.Variable([1.0, 2.0]), keras.optimizers.Adam()

@tf.function
def step():
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(weights**2)
    optimizer.apply_gradients([(tape.gradient(loss, weights), weights)])
    return loss

for _ in range(40):
    step()
    time.sleep(0.03)
print("iterations", int(optimizer.iterations.numpy()))
"""

BEFORE_A_FIT = """
import sys, time
sys.path.insert(0, CLIENT)
import keras, numpy as np
import headrace_client as headrace

x = np.random.default_rng(3).normal(size=(64, 3)).astype("float32")
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
model.compile("adam", "mse")
for _ in range(headrace.resumed_step(), 12):
    model.train_on_batch(x[:16], x[:16, :1])
    print("by hand", flush=True)

class Slow(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        time.sleep(0.02)

model.fit(x, x[:, :1], epochs=20, batch_size=16, verbose=0, callbacks=[Slow()])
np.savez(RESULT, *model.get_weights())
"""


@pytest.mark.parametrize("asks", [True, False], ids=["asks", "does not ask"])
def test_a_loop_that_had_ended_before_a_fit_is_passed_over_where_it_asks_and_else_trained_again(
    asks, start_keras, tmp_path
):
    script = tmp_path / "script.py"
    client = Path(__file__).resolve().parents[3] / "client"
    text = BEFORE_A_FIT.replace("CLIENT", repr(str(client)))
    if not asks:
        text = text.replace("headrace.resumed_step()", "0")
    script.write_text(text.replace("RESULT", repr(str(tmp_path / "whole.npz"))))
    assert start_keras(script).wait() == 0
    script.write_text(text.replace("RESULT", repr(str(tmp_path / "again.npz"))))
    first = start_keras(script, checkpoint_dir=tmp_path / "checkpoints", checkpoint_interval=0.1)
    first.wait_until(lambda messages: any(m["type"] == "checkpoint" and m["fit"] == 1 for m in messages))
    first.signal(signal.SIGKILL)
    first.wait()
    newest = max((tmp_path / "checkpoints").glob("ckpt-*"))
    # The second attempt is killed, too: what it passed over has to be in its checkpoints.
    second = start_keras(script, resume_dir=newest, checkpoint_dir=tmp_path / "more", checkpoint_interval=0.1)
    second.wait_until(lambda messages: any(m["type"] == "checkpoint" and m["fit"] == 1 for m in messages))
    second.signal(signal.SIGKILL)
    second.wait()
    second = start_keras(script, resume_dir=max((tmp_path / "more").glob("ckpt-*")))
    assert second.wait() == 0, second.stderr[-3000:]
    assert second.stdout.count("by hand") == (0 if asks else 12)
    assert second.of_type("resume")[-1]["exact"] is True
    for one, other in zip(result(tmp_path / "whole.npz"), result(tmp_path / "again.npz"), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)
