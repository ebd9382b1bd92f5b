"""Loops that are left early, that have others or fits in them, and that cannot be found again."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

HEAD = f"""
import sys, time
sys.path.insert(0, {str(Path(__file__).resolve().parents[3] / "client")!r})
import keras, numpy as np, tensorflow as tf
import headrace_client

x = np.random.default_rng(3).normal(size=(8, 3)).astype("float32")

def network(units=1):
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(units)])

def train(model, optimizer):
    time.sleep(0.03)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(model(x) ** 2)
    optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)

model, optimizer = network(), keras.optimizers.Adam()
"""


def attempt(start_keras: Any, folder: Path, text: str, **settings: Any) -> Any:
    script = folder / "script.py"
    script.write_text(HEAD + text)
    return start_keras(script, checkpoint_dir=folder / "ck", checkpoint_interval=0.1, **settings)


def ended(child: Any) -> Any:
    assert child.wait() == 0, child.stderr[-3000:]
    return child


def killed(child: Any, fit: int, step: int) -> Path:
    """After that checkpoint, which is the newest one."""
    child.wait_until(
        lambda messages: any(m["type"] == "checkpoint" and m["fit"] == fit and m["step"] >= step for m in messages)
    )
    child.signal(signal.SIGKILL)
    child.wait()
    return Path(child.of_type("checkpoint")[-1]["dir"])


LEFT = """
for i in headrace_client.steps(50):
    print("first", i, flush=True)
    train(model, optimizer)
    if i == 4:
        break
print("is", float(model(x)[0, 0]), flush=True)
other, of_other = network(), keras.optimizers.Adam()
for i in headrace_client.steps(60):
    print("second", i, flush=True)
    train(other, of_other)
"""


def test_a_loop_that_was_left_has_ended_where_another_one_follows(start_keras, tmp_path):
    first = attempt(start_keras, tmp_path, LEFT)
    newest = killed(first, 1, 6)
    second = ended(attempt(start_keras, tmp_path, LEFT, resume_dir=newest))
    assert "first" not in second.stdout
    before, after = (next(line for line in one.stdout.splitlines() if "is" in line) for one in (first, second))
    assert before == after
    assert second.of_type("resume")[-1]["exact"] is True


STOPPED = """
for i in headrace_client.steps(40):
    print("i", i, flush=True)
    train(model, optimizer)
    if headrace_client.should_stop():
        print("left", flush=True)
        break
"""


def test_a_loop_that_is_left_because_the_pod_is_stopped_goes_on_after_that_iteration(start_keras, tmp_path):
    first = attempt(start_keras, tmp_path, STOPPED)
    first.wait_until(lambda messages: any(m["type"] == "step" and m["step"] >= 5 for m in messages))
    first.signal(signal.SIGTERM)
    assert first.wait(20) == 75, first.stderr[-3000:]
    last = int(first.stdout.replace("left", "").split()[-1])
    newest = Path(first.of_type("checkpoint")[-1]["dir"])
    second = ended(attempt(start_keras, tmp_path, STOPPED, resume_dir=newest))
    began = int(second.stdout.split()[1])
    assert began == last + 1 if "left" in first.stdout else began <= last + 1
    assert second.stdout.split()[-1] == "39"


def test_a_script_that_an_error_ends_in_its_loop_goes_on_in_it(start_keras, tmp_path):
    text = """
for i in headrace_client.steps(30):
    print("i", i, flush=True)
    train(model, optimizer)
    if i == 20 and FAILS:
        raise OSError("the disk of the data is gone")
"""
    first = attempt(start_keras, tmp_path, text.replace("FAILS", "True"))
    assert first.wait() != 0
    checkpoint = first.of_type("checkpoint")[-1]
    second = ended(attempt(start_keras, tmp_path, text.replace("FAILS", "False"), resume_dir=checkpoint["dir"]))
    assert second.stdout.split()[1] == str(checkpoint["step"])
    assert second.stdout.split()[-1] == "29"


@pytest.mark.parametrize("numbers", ["range(headrace_client.resumed_step(), 40)", "headrace_client.steps(40)"])
def test_a_loop_whose_model_is_another_one_begins_at_its_first_step_and_says_so(numbers, start_keras, tmp_path):
    text = f"""
for i in {numbers}:
    print("i", i, flush=True)
    train(model, optimizer)
"""
    newest = killed(attempt(start_keras, tmp_path, text), 0, 6)
    second = ended(attempt(start_keras, tmp_path, "model = network(2)\n" + text, resume_dir=newest))
    assert second.stdout.split()[1::2] == [str(i) for i in range(40)]
    [told] = second.of_type("resume")
    assert (told["step"], told["exact"]) == (0, False)
    assert "begins from its first step" in told["message"]


def test_a_loop_that_makes_models_is_not_called_exact(start_keras, tmp_path):
    text = """
best = None
for i in headrace_client.steps(40):
    train(model, optimizer)
    if i % 5 == 0:
        best = keras.models.clone_model(model)
        best.set_weights(model.get_weights())
"""
    newest = killed(attempt(start_keras, tmp_path, text), 0, 8)
    second = ended(attempt(start_keras, tmp_path, text, resume_dir=newest))
    told = second.of_type("resume")[-1]
    assert told["exact"] is None
    assert "the loop has made models of its own" in told["message"]


def test_steps_in_an_iteration_are_a_range_and_an_iteration_that_is_a_fit_is_followed_as_one(start_keras, tmp_path):
    text = """
for i in headrace_client.steps(20):
    print(*headrace_client.steps(2, 5), flush=True)
    train(model, optimizer)

class Slow(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        time.sleep(0.02)

model.compile("adam", "mse")
for i in headrace_client.steps(3):
    print("fit", i, flush=True)
    model.fit(x, x[:, :1], epochs=30, batch_size=4, verbose=0, callbacks=[Slow()])
"""
    newest = killed(attempt(start_keras, tmp_path, text), 2, 10)
    second = ended(attempt(start_keras, tmp_path, text, resume_dir=newest))
    assert second.stdout == "fit 0\nfit 1\nfit 2\n"
    told = second.of_type("resume")[-1]
    assert (told["fit"], told["exact"]) == (2, True)
