"""Loops of the script's own that count with `steps`, and those of which it cannot be told where they were."""

from __future__ import annotations

import functools
import re
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from thorough import thorough

SLOW = "--delay=0.03"


def resumed(start_keras: Any, folder: Path, kind: str, *more: str, loop: int = 0, step: int = 6) -> tuple[Any, Any]:
    """An attempt that is killed in that loop after a step, and the one that goes on."""
    first = start_keras(
        "counted_loop.py", f"--kind={kind}", SLOW, *more, checkpoint_dir=folder / "ck", checkpoint_interval=0.1
    )
    first.wait_until(
        lambda messages: any(m["type"] == "checkpoint" and m["fit"] == loop and m["step"] >= step for m in messages)
    )
    first.signal(signal.SIGKILL)
    first.wait()
    newest = max((folder / "ck").glob("ckpt-*"))
    second = start_keras(
        "counted_loop.py", f"--kind={kind}", *more, f"--result={folder / 'again.npz'}", resume_dir=newest
    )
    assert second.wait() == 0, second.stderr[-3000:]
    checkpoint = next(m for m in first.of_type("checkpoint") if m["dir"] == str(newest))
    return checkpoint, second


def iterations(child: Any) -> list[list[int]]:
    """What each loop of it went through."""
    return [[int(i) for i in re.findall(r"^i (\d+)$", part, re.M)] for part in child.stdout.split("loop\n")[1:]]


@pytest.fixture(scope="module")
def undisturbed(start_keras, tmp_path_factory):
    """What a loop of a kind comes to that nobody disturbs."""

    @functools.cache
    def run(kind: str, *more: str) -> Path:
        result = tmp_path_factory.mktemp("undisturbed") / "whole.npz"
        whole = start_keras("counted_loop.py", f"--kind={kind}", *more, f"--result={result}")
        assert whole.wait() == 0, whole.stderr[-3000:]
        return result

    return run


def assert_same(whole: Path, folder: Path) -> None:
    with np.load(whole) as one, np.load(folder / "again.npz") as other:
        assert one.files == other.files
        for name in one.files:
            np.testing.assert_allclose(one[name], other[name], rtol=1e-6, atol=1e-6)


# Those that another test below has, where they ask, are left out here.
@pytest.mark.parametrize(
    "kind",
    ["gan2", "wgan", "delayed", thorough("dqn"), "ema", "lso", thorough("accumulates"), "mirrored", "unbuilt"],
)
def test_a_loop_that_counts_goes_on_with_its_next_iteration_as_if_nothing_had_happened(
    kind, start_keras, undisturbed, tmp_path
):
    checkpoint, second = resumed(start_keras, tmp_path, kind)
    [went] = iterations(second)
    assert went[0] == checkpoint["step"]
    assert second.of_type("resume")[-1]["exact"] is True, second.of_type("resume")
    assert second.of_type("fit")[0]["steps"] == went[-1] + 1
    assert second.of_type("trained")
    assert_same(undisturbed(kind), tmp_path)


# Each way to count, and each kind, once.
@pytest.mark.parametrize(
    ("kind", "loop", "asks"),
    [
        pytest.param("twoloops", 1, [], id="twoloops-steps"),
        pytest.param("folds", 2, ["--ask"], id="folds-resumed_step"),
        thorough("twoloops", 1, ["--ask"], id="twoloops-resumed_step"),
        thorough("folds", 2, [], id="folds-steps"),
    ],
)
def test_loops_that_had_ended_are_as_they_were_at_their_end(kind, loop, asks, start_keras, undisturbed, tmp_path):
    checkpoint, second = resumed(start_keras, tmp_path, kind, *asks, loop=loop)
    went = iterations(second)
    assert went[:loop] == [[]] * loop
    assert went[loop][0] == checkpoint["step"]
    assert second.of_type("resume")[-1]["exact"] is True, second.of_type("resume")
    assert second.of_type("trained")
    assert_same(undisturbed(kind), tmp_path)


# More often than once in an iteration, and less often.
@pytest.mark.parametrize("kind", [thorough("gan2"), "wgan", "delayed"])
def test_where_the_iteration_is_not_known_nothing_is_skipped_and_the_message_names_what_counts(
    kind, start_keras, tmp_path
):
    _, second = resumed(start_keras, tmp_path, kind, "--ask", step=10)
    [went] = iterations(second)
    assert went == list(range(40))
    [told] = second.of_type("resume")
    assert told["exact"] is False
    assert "headrace_client.steps" in told["message"], told
    assert "with the weights that it had" in told["message"]


@pytest.mark.parametrize("kind", ["dqn", thorough("ema"), thorough("lso"), "accumulates"])
def test_a_loop_that_asks_has_all_that_it_changes(kind, start_keras, undisturbed, tmp_path):
    checkpoint, second = resumed(start_keras, tmp_path, kind, "--ask")
    [went] = iterations(second)
    assert went[0] == checkpoint["step"]
    assert second.of_type("resume")[-1]["exact"] is True, second.of_type("resume")
    assert_same(undisturbed(kind, "--ask"), tmp_path)


LAST = """
import sys, time
sys.path.insert(0, CLIENT)
import keras, numpy as np, tensorflow as tf
import headrace_client

x = np.random.normal(size=(8, 3)).astype("float32")
model, optimizer = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)]), keras.optimizers.Adam()
for i in NUMBERS:
    print("i", i, flush=True)
    while WAITS and not headrace_client.should_stop():
        time.sleep(0.01)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(model(x) ** 2)
    optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
print("over", flush=True)
time.sleep(REPORT)
print("weights", [float(value) for weight in model.get_weights() for value in weight.reshape(-1)])
headrace_client.export(model)
"""


@pytest.mark.parametrize("asks", [True, False], ids=["resumed_step", "steps"])
def test_a_loop_with_nothing_left_to_do_has_trained_its_model(asks, start_keras, tmp_path):
    script = tmp_path / "script.py"
    client = Path(__file__).resolve().parents[3] / "client"
    numbers = "range(headrace_client.resumed_step(), 3)" if asks else "headrace_client.steps(3)"
    # Who counts knows that it is over: stopped in the report, and the other one in its last iteration.
    waits, told = ("i == 2", "i 2") if asks else ("False", "over")
    text = LAST.replace("CLIENT", repr(str(client))).replace("NUMBERS", numbers).replace("WAITS", waits)
    script.write_text(text.replace("REPORT", "30"))
    first = start_keras(script, checkpoint_dir=tmp_path / "ck", checkpoint_interval=300)
    first.wait_for_output(told)
    first.signal(signal.SIGTERM)
    assert first.wait(20) == 75, first.stderr[-3000:]
    script.write_text(text.replace("REPORT", "0"))
    second = start_keras(script, resume_dir=max((tmp_path / "ck").glob("ckpt-*")))
    assert second.wait() == 0, second.stderr[-3000:]
    assert "i " not in second.stdout
    assert second.of_type("trained"), second.messages
