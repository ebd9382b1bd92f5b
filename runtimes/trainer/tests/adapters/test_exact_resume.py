"""An interrupted run ends with the weights, the losses and the History of an uninterrupted one; and says so where it
does not.
"""

from __future__ import annotations

import functools
import hashlib
import json
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from thorough import thorough

INTERVAL = 0.1


@dataclass
class Training:
    """A script run to its end, in one process or in several."""

    result: dict[str, Any]
    attempts: list[Any]
    exported: Path

    def logged(self) -> dict[tuple[str, int, int], dict[str, float]]:
        """All metrics by type, fit and step, the later attempt's where two logged the same step."""
        messages = [m for attempt in self.attempts for m in attempt.of_type("step", "epoch")]
        return {(m["type"], m["fit"], m["step"]): m["metrics"] for m in messages}


def newest_checkpoint(directory: Path) -> Path:
    return max(directory.glob("ckpt-*"))


def is_in(fit: int, after_step: int) -> Any:
    """The child has trained so far, and a checkpoint of that fit lies behind it."""

    def condition(messages: list[dict[str, Any]]) -> bool:
        saved = any(m["type"] == "checkpoint" and m["fit"] == fit and m["step"] > 3 for m in messages)
        return saved and any(m["type"] == "step" and m["fit"] == fit and m["step"] >= after_step for m in messages)

    return condition


def run_to_end(start, directory: Path, interruptions: list[tuple[signal.Signals, int, int]], **more: Any) -> Training:
    result, exported, attempts, resume = directory / "result.json", directory / "model", [], {}
    common = {"export_dir": exported, "formats": "ONNX", "seed": 5, "checkpoint_interval": INTERVAL, **more}
    for attempt, (number, fit, step) in enumerate([*interruptions, (None, 0, 0)]):
        checkpoints = directory / f"attempt-{attempt}"
        child = start("four_fits.py", f"--result={result}", checkpoint_dir=checkpoints, **common, **resume)
        attempts.append(child)
        if number is None:
            assert child.wait() == 0, child.stderr[-3000:]
        else:
            child.wait_until(is_in(fit, step))
            child.signal(number)
            assert child.wait() == (75 if number == signal.SIGTERM else -number)
            resume = {"resume_dir": newest_checkpoint(checkpoints)}
    return Training(json.loads(result.read_text()), attempts, exported)


@pytest.fixture(scope="module")
def uninterrupted(start_keras, tmp_path_factory: pytest.TempPathFactory) -> Training:
    return run_to_end(start_keras, tmp_path_factory.mktemp("uninterrupted"), [])


@pytest.fixture(scope="module")
def interrupted(start_keras, tmp_path_factory: pytest.TempPathFactory) -> Training:
    """Killed twice in the middle of the first fit's epochs, once in each other fit, and once stopped; each attempt
    tries its export.
    """
    interruptions = [
        (signal.SIGKILL, 0, 27),
        (signal.SIGKILL, 0, 53),
        (signal.SIGKILL, 1, 33),
        (signal.SIGTERM, 2, 35),
        (signal.SIGKILL, 3, 47),
    ]
    return run_to_end(
        start_keras,
        tmp_path_factory.mktemp("interrupted"),
        interruptions,
        trial_after_seconds=0.1,
        trial_left_seconds=0,
    )


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", ["arrays", "pipeline", "split", "generated", "evaluated"])
def test_an_interrupted_fit_ends_like_an_uninterrupted_one(
    name: str, uninterrupted: Training, interrupted: Training
) -> None:
    expected, result = uninterrupted.result[name], interrupted.result[name]
    assert result["steps"] == expected["steps"]
    assert result["epochs"] == expected["epochs"]
    assert result["history"] == expected["history"]
    for weights, expected_weights in zip(result["weights"], expected["weights"], strict=True):
        np.testing.assert_array_equal(weights, expected_weights)
    assert {k: v for k, v in result.items() if k not in ("weights", "history")} == {
        k: v for k, v in expected.items() if k not in ("weights", "history")
    }


def test_every_logged_value_is_that_of_the_uninterrupted_run(uninterrupted: Training, interrupted: Training) -> None:
    assert interrupted.logged() == uninterrupted.logged()


def test_each_resume_is_found_to_be_exact(interrupted: Training) -> None:
    verdicts = [attempt.of_type("resume")[-1] for attempt in interrupted.attempts[1:]]
    assert [(verdict["fit"], verdict["exact"]) for verdict in verdicts] == [
        (0, True),
        (0, True),
        (1, True),
        (2, True),
        (3, True),
    ]


def test_each_resume_trains_from_the_checkpoint_on_and_not_from_the_start(interrupted: Training) -> None:
    for attempt in interrupted.attempts[1:]:
        first = attempt.of_type("step")[0]
        assert (first["fit"], first["step"]) == (
            attempt.of_type("resume")[0]["fit"],
            attempt.of_type("resume")[0]["step"] + 1,
        )


def test_the_exported_model_has_the_same_bytes_after_interruptions(
    uninterrupted: Training, interrupted: Training
) -> None:
    models = [(training.exported / "onnx" / "model.onnx").read_bytes() for training in (uninterrupted, interrupted)]
    assert hashlib.sha256(models[0]).hexdigest() == hashlib.sha256(models[1]).hexdigest()


def test_a_stopped_run_says_where_it_stopped(interrupted: Training) -> None:
    stopped = interrupted.attempts[3].messages[-1]
    assert stopped["type"] == "checkpoint"
    assert stopped["fit"] == 2


def test_a_script_with_entropy_of_its_own_resumes_and_says_that_it_is_not_exact(start_keras, tmp_path: Path) -> None:
    first = start_keras("entropy.py", checkpoint_dir=tmp_path / "1", checkpoint_interval=INTERVAL)
    first.wait_until(is_in(0, 30))
    first.signal(signal.SIGKILL)
    first.wait()
    second = start_keras("entropy.py", checkpoint_dir=tmp_path / "2", resume_dir=newest_checkpoint(tmp_path / "1"))
    assert second.wait() == 0, second.stderr[-3000:]
    verdict = second.of_type("resume")[-1]
    assert verdict["exact"] is False
    assert verdict["message"].startswith(f"not exact: resumed at step {verdict['step'] + 1}, and ")
    assert second.of_type("step")[0]["step"] == verdict["step"] + 1
    assert second.of_type("step")[-1]["step"] == 80


@pytest.fixture(scope="module")
def undisturbed(start_keras, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What `stops_itself.py` comes to without a stop, by the arguments that say what it trains."""
    known: dict[tuple[str, ...], tuple[dict[str, Any], list[dict[str, Any]]]] = {}

    def run(*arguments: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        if arguments not in known:
            result = tmp_path_factory.mktemp("undisturbed") / "result.json"
            child = start_keras("stops_itself.py", f"--result={result}", *arguments, seed=3)
            assert child.wait() == 0, child.stderr[-3000:]
            known[arguments] = json.loads(result.read_text()), child.of_type("epoch")
        return known[arguments]

    return run


@pytest.mark.parametrize(
    ("place", "trains"),
    [
        ("last-batch", ()),
        thorough("last-batch", ("--validate=yes",)),
        ("last-batch", ("--validate=yes", "--kind=own-logs")),
        ("last-batch", ("--validate=yes", "--kind=unsized")),
        ("validation", ("--validate=yes",)),
        thorough("validation", ("--validate=yes", "--kind=unsized")),
        ("epoch-end", ("--validate=yes",)),
    ],
)
def test_one_that_is_stopped_at_the_end_of_an_epoch_ends_like_one_that_was_not(
    place: str, trains: tuple[str, ...], undisturbed, start_keras, tmp_path: Path
) -> None:
    expected, expected_epochs = undisturbed(*trains)
    stopped = start_keras("stops_itself.py", f"--at={place}", *trains, checkpoint_dir=tmp_path / "1", seed=3)
    assert stopped.wait() == 75, stopped.stderr[-3000:]
    checkpoint = newest_checkpoint(tmp_path / "1")
    result = tmp_path / "result.json"
    resumed = start_keras("stops_itself.py", f"--result={result}", *trains, resume_dir=checkpoint, seed=3)
    assert resumed.wait() == 0, resumed.stderr[-3000:]

    assert checkpoint.name == "ckpt-00000008"
    verdict = resumed.of_type("resume")[-1]
    assert trains or (verdict["step"], verdict["exact"]) == (8, True), verdict
    epochs = {m["epoch"]: m["metrics"] for m in expected_epochs}
    told = [*stopped.of_type("epoch"), *resumed.of_type("epoch")]
    assert {m["epoch"] for m in told} == epochs.keys()
    for message in told:
        assert message["metrics"] == pytest.approx(epochs[message["epoch"]], abs=1e-6), message
    found = json.loads(result.read_text())
    assert found["epochs"] == expected["epochs"]
    assert found["history"].keys() == expected["history"].keys()
    for name, values in expected["history"].items():
        assert found["history"][name] == pytest.approx(values, abs=1e-6), name
    assert found["best"] == pytest.approx(expected["best"], abs=1e-6)
    for weights, expected_weights in zip(found["weights"], expected["weights"], strict=True):
        np.testing.assert_allclose(weights, expected_weights, atol=1e-6)


def test_one_that_is_stopped_after_an_epoch_can_still_tell_whether_its_resume_is_exact(
    start_keras, tmp_path: Path
) -> None:
    stopped = start_keras("stops_itself.py", "--at=epoch-end", checkpoint_dir=tmp_path / "1", seed=3)
    assert stopped.wait() == 75, stopped.stderr[-3000:]
    resumed = start_keras("stops_itself.py", resume_dir=newest_checkpoint(tmp_path / "1"), seed=3)
    assert resumed.wait() == 0, resumed.stderr[-3000:]

    verdict = resumed.of_type("resume")[-1]
    assert (verdict["step"], verdict["exact"]) == (8, True), verdict


@pytest.mark.parametrize(
    ("place", "stall", "step"),
    [
        ("slow-step", "none", 4),
        ("mid-epoch", "batch-begin", 4),
        thorough("last-batch", "epoch-begin", 8),
        ("epoch-end", "epoch-begin", 8),
    ],
)
def test_where_no_further_step_comes_the_checkpoint_is_written_without_one(
    place: str, stall: str, step: int, start_keras, tmp_path: Path
) -> None:
    stopped = start_keras("stops_itself.py", f"--at={place}", f"--stall={stall}", checkpoint_dir=tmp_path, seed=3)
    assert stopped.wait() == 75, stopped.stderr[-3000:]

    assert [m["step"] for m in stopped.of_type("checkpoint")] == [step]
    assert stopped.messages[-1]["type"] == "checkpoint"
    assert [folder.name for folder in tmp_path.glob("ckpt-*")] == [f"ckpt-{step:08d}"]


def test_optimizers_and_variables_that_a_model_holds_go_with_it(start_keras, tmp_path: Path) -> None:
    def start(name: str, **settings: object) -> Any:
        return start_keras("gan.py", f"--result={tmp_path / name}", seed=3, **settings)

    undisturbed = start("undisturbed")
    assert undisturbed.wait() == 0, undisturbed.stderr[-3000:]
    killed = start("killed", checkpoint_dir=tmp_path / "1", checkpoint_interval=INTERVAL)
    killed.wait_until(is_in(0, 25))
    killed.signal(signal.SIGKILL)
    killed.wait()
    resumed = start("resumed", resume_dir=newest_checkpoint(tmp_path / "1"))
    assert resumed.wait() == 0, resumed.stderr[-3000:]
    assert resumed.of_type("resume")[-1]["exact"] is True
    assert json.loads((tmp_path / "resumed").read_text()) == json.loads((tmp_path / "undisturbed").read_text())


STATEFUL = """
import keras, numpy as np, time
x = np.random.default_rng(1).normal(size=(160, 5, 1)).astype("float32")
class Slow(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        time.sleep(0.02)
lstm = keras.layers.LSTM(8, stateful=True)
model = keras.Sequential([keras.Input(batch_shape=(8, 5, 1)), lstm, keras.layers.Dense(1)])
model.compile("adam", "mse")
model.fit(x, x.sum(axis=1), batch_size=8, epochs=3, shuffle=False, callbacks=[Slow()], verbose=0)
"""


def test_what_a_stateful_layer_keeps_of_the_batch_before_goes_with_the_checkpoint(start_keras, tmp_path):
    script, checkpoints = tmp_path / "script.py", tmp_path / "checkpoints"
    script.write_text(STATEFUL)
    first = start_keras(script, checkpoint_dir=checkpoints, checkpoint_interval=0.05)
    first.wait_until(lambda messages: any(m["type"] == "checkpoint" and 3 < m["step"] % 20 < 18 for m in messages))
    first.signal(signal.SIGKILL)
    first.wait()
    second = start_keras(script, resume_dir=newest_checkpoint(checkpoints))
    assert second.wait() == 0, second.stderr[-3000:]
    assert second.of_type("resume")[-1]["exact"] is True


RAISES = """
import keras, numpy as np, time
x = np.random.default_rng(1).normal(size=(160, 4)).astype("float32")

class Slow(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        time.sleep(0.02)

class Pruned(Exception):
    pass

class Prune(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1 and PRUNES:
            raise Pruned

ended = []
for trial in range(3):
    layers = [keras.layers.Dense(8), keras.layers.Dropout(0.2), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((4,)), *layers])
    model.compile(keras.optimizers.SGD([0.01, 0.02, 0.03][trial], momentum=0.9), "mse")
    try:
        model.fit(x, x[:, :1], batch_size=16, epochs=4, verbose=0, callbacks=[Slow(), *[Prune()] * (trial < 2)])
        ended.append("full")
    except Pruned:
        ended.append("pruned")
print(ended, round(float(model.optimizer.learning_rate), 3))
np.savez(RESULT, *model.get_weights())
"""


def killed_in(start_keras, script: Path, checkpoints: Path, fit: int) -> Path:
    """The newest checkpoint of a script that was killed in the middle of a fit."""
    first = start_keras(script, checkpoint_dir=checkpoints, checkpoint_interval=0.05)
    first.wait_until(
        lambda messages: any(m["type"] == "checkpoint" and m["fit"] == fit and m["step"] > 10 for m in messages)
    )
    first.signal(signal.SIGKILL)
    first.wait()
    return newest_checkpoint(checkpoints)


@pytest.fixture(scope="module")
def pruned(start_keras, tmp_path_factory) -> tuple[Path, Path]:
    """A script that was killed in its third fit, when two had been pruned, and its newest checkpoint."""
    script = tmp_path_factory.mktemp("pruned") / "resumed.py"
    script.write_text(pruning(script))
    return script, killed_in(start_keras, script, script.parent / "checkpoints", 2)


def pruning(script: Path, prunes: bool = True) -> str:
    return RAISES.replace("RESULT", repr(str(script.with_suffix(".npz")))).replace("PRUNES", str(prunes))


def test_a_fit_after_ones_that_raised_goes_on_with_its_own_state(start_keras, pruned, tmp_path):
    (resumed, checkpoint), whole = pruned, tmp_path / "whole.py"
    whole.write_text(pruning(whole))
    assert start_keras(whole).wait() == 0
    second = start_keras(resumed, resume_dir=checkpoint, checkpoint_dir=tmp_path / "2", checkpoint_interval=0.05)
    assert second.wait() == 0, second.stderr[-3000:]
    assert second.stdout.startswith("['pruned', 'pruned', 'full'] 0.03")
    verdict = second.of_type("resume")[-1]
    assert (verdict["fit"], verdict["exact"]) == (2, True), verdict
    with np.load(resumed.with_suffix(".npz")) as found, np.load(whole.with_suffix(".npz")) as expected:
        for name in expected.files:
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-6, atol=1e-6)
    # What is trained again for its exception was told before, and saved before.
    assert {m["fit"] for m in second.of_type("step", "epoch", "fit", "checkpoint")} == {2}


def test_a_fit_that_does_not_raise_again_makes_the_resume_inexact(start_keras, pruned):
    script, checkpoint = pruned
    script.write_text(pruning(script, prunes=False))  # as after a limit of time that was not reached
    second = start_keras(script, resume_dir=checkpoint)
    code = second.wait()
    script.write_text(pruning(script))
    assert code == 0, second.stderr[-3000:]
    verdict = second.of_type("resume")[-1]
    assert verdict["exact"] is False
    assert verdict["message"] == "fit 0 was ended by Pruned after 20 steps, and was not when it was trained again"


CALLBACKS_DRAW = """
import keras, numpy as np, random, time
import tensorflow as tf
x = np.random.default_rng(1).normal(size=(160, 4)).astype("float32")

class Slow(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        time.sleep(0.02 * (not AT_ENDS))

    def on_epoch_end(self, epoch, logs=None):
        time.sleep(0.4 * AT_ENDS)

class Noise(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        drawn = [np.random.normal(0, 0.1), random.random(), tf.random.normal(()), keras.random.normal(())]
        self.model.layers[0].kernel.assign_add(np.full((4, 1), sum(float(one) for one in drawn), "float32"))
        self.drawn = [*getattr(self, "drawn", []), *map(float, drawn)]

model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
model.compile("sgd", "mse")
noise = Noise()
model.fit(DATA, epochs=5, verbose=0, callbacks=[noise, Slow()])
np.savez(RESULT, noise.drawn, *model.get_weights())
"""
ARRAYS = "x, x[:, :1], batch_size=16"
PIPELINE = "tf.data.Dataset.from_tensor_slices((x, x[:, :1])).shuffle(160).batch(16)"
# Draws from the same generators as the callback, ahead of the training.
DRAWING = """(
    (x[rows], x[rows, :1]) for rows in (np.random.randint(0, 160, 16) for _ in range(10_000))
), steps_per_epoch=10"""


def cut_off(position: str) -> Any:
    """A checkpoint in the middle of an epoch, or at the end of one, lies behind the child."""
    batches = {"middle": range(3, 8), "end": [0]}[position]

    def condition(messages: list[dict[str, Any]]) -> bool:
        newest = max((m["step"] for m in messages if m["type"] == "checkpoint"), default=0)
        return newest > 10 and newest % 10 in batches

    return condition


def drawing(script: Path, data: str, at_ends: bool) -> Path:
    text = CALLBACKS_DRAW.replace("RESULT", repr(str(script.with_suffix(".npz"))))
    script.write_text(text.replace("DATA", data).replace("AT_ENDS", str(at_ends)))
    return script


@pytest.fixture(scope="module")
def drawn(start_keras, tmp_path_factory):
    """What is drawn and trained with some data when nobody disturbs it, wherever it pauses."""

    @functools.cache
    def run(data: str) -> dict[str, Any]:
        script = drawing(tmp_path_factory.mktemp("drawn") / "whole.py", data, True)
        assert start_keras(script).wait() == 0
        with np.load(script.with_suffix(".npz")) as file:
            return {name: file[name] for name in file.files}

    return run


# Each position and each kind of data once.
@pytest.mark.parametrize(
    ("data", "position"),
    [
        pytest.param(ARRAYS, "end", id="arrays-end"),
        pytest.param(PIPELINE, "middle", id="pipeline-middle"),
        thorough(ARRAYS, "middle", id="arrays-middle"),
        thorough(PIPELINE, "end", id="pipeline-end"),
    ],
)
def test_what_callbacks_draw_is_what_they_would_have_drawn(data, position, start_keras, drawn, tmp_path):
    resumed = drawing(tmp_path / "resumed.py", data, position == "end")
    interval = {"middle": 0.08, "end": 0.3}[position]
    first = start_keras(resumed, checkpoint_dir=tmp_path / "checkpoints", checkpoint_interval=interval)
    first.wait_until(cut_off(position))
    first.signal(signal.SIGKILL)
    first.wait()
    second = start_keras(resumed, resume_dir=newest_checkpoint(tmp_path / "checkpoints"))
    assert second.wait() == 0, second.stderr[-3000:]
    assert second.of_type("resume")[-1]["exact"] is True
    expected = drawn(data)
    with np.load(tmp_path / "resumed.npz") as found:
        for name, values in expected.items():
            np.testing.assert_allclose(found[name], values, rtol=1e-6, atol=1e-6)


def test_where_data_and_callbacks_draw_from_the_same_generator_nothing_is_called_exact(start_keras, tmp_path):
    script = drawing(tmp_path / "script.py", DRAWING, False)
    first = start_keras(script, checkpoint_dir=tmp_path / "checkpoints", checkpoint_interval=0.08)
    first.wait_until(cut_off("middle"))
    first.signal(signal.SIGKILL)
    first.wait()
    second = start_keras(script, resume_dir=newest_checkpoint(tmp_path / "checkpoints"))
    assert second.wait() == 0, second.stderr[-3000:]
    assert second.of_type("resume")[-1]["exact"] is not True


MADE_LATE = """
import keras, numpy as np, time
x = np.random.default_rng(1).normal(size=(160, 4)).astype("float32")

class Slow(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        time.sleep(0.02)

class Late(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        MAKES

model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
model.compile("adam", "mse")
model.fit(x, x[:, :1], batch_size=16, epochs=3, verbose=0, callbacks=[Late(), Slow()])
model.fit(x, x[:, :1], batch_size=16, epochs=3, verbose=0, callbacks=[Slow()])
"""


SEED = "float(keras.random.uniform(()))"
VARIABLE = "if epoch == 0: self.model.average = keras.Variable(1.0, name='average')"


# In the fit that makes it, and in one after that: each of the two once.
@pytest.mark.parametrize(
    ("makes", "exact", "fit"),
    [
        pytest.param(SEED, True, 1, id="the global seed-1"),
        pytest.param(VARIABLE, False, 0, id="a variable-0"),
        thorough(SEED, True, 0, id="the global seed-0"),
        thorough(VARIABLE, False, 1, id="a variable-1"),
    ],
)
def test_what_is_made_while_it_trains_ends_no_resume(makes, exact, fit, start_keras, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(MADE_LATE.replace("MAKES", makes))
    checkpoint = killed_in(start_keras, script, tmp_path / "checkpoints", fit)
    second = start_keras(script, resume_dir=checkpoint)
    assert second.wait() == 0, second.stderr[-3000:]
    verdict = second.of_type("resume")[-1]
    assert (verdict["fit"], verdict["exact"]) == (fit, exact), verdict
    if not exact:
        assert verdict["message"] == "the checkpoint holds average, which has not been made so far"


def test_a_script_with_another_model_is_refused(start_keras, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(MADE_LATE.replace("MAKES", "pass"))
    checkpoint = killed_in(start_keras, script, tmp_path / "checkpoints", 0)
    script.write_text(script.read_text().replace("Dense(1)", "Dense(2)"))
    second = start_keras(script, resume_dir=checkpoint)
    assert second.wait() == 1
    [told] = second.of_type("exception")
    assert told["exception"] == "CheckpointError"
    assert "the script has changed since it was taken" in told["message"]
