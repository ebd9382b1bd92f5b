"""A checkpoint of a large state takes memory for one copy of it, which is used again; a resume takes none."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import numpy as np
import pytest

from headrace_trainer.adapters import arrays as stored
from headrace_trainer.adapters.arrays import StoredArrays

STATE_BYTES = 2 * 4 * 5000 * 5000


def test_a_large_state_is_saved_and_put_back_in_bounded_memory(start_keras, tmp_path: Path) -> None:
    def run(name: str, pause: float, **settings):
        result = tmp_path / name
        child = start_keras("large_state.py", f"--pause={pause}", f"--result={result}", seed=5, **settings)
        assert child.wait() == 0, child.stderr[-3000:]
        return json.loads(result.read_text())

    undisturbed = run("undisturbed", 0)
    saved = run("saved", 0.3, checkpoint_dir=tmp_path, checkpoint_interval=0.5)
    taken = sorted(tmp_path.glob("ckpt-*"))
    resumed = run("resumed", 0, resume_dir=taken[0])

    assert len(taken) > 2  # the memory of the first is used again
    assert saved["peak"] - undisturbed["peak"] < 1.5 * STATE_BYTES
    assert resumed["peak"] - undisturbed["peak"] < 0.75 * STATE_BYTES
    assert saved["loss"] == resumed["loss"] == undisturbed["loss"]


def test_one_that_is_stopped_while_a_checkpoint_is_written_ends_with_a_whole_one(start_keras, tmp_path: Path) -> None:
    child = start_keras(
        "large_state.py",
        "--pause=0.2",
        "--result=/dev/null",
        seed=5,
        checkpoint_dir=tmp_path,
        checkpoint_interval=0.1,
        stop_seconds=12,
    )
    child.wait_until(lambda messages: any(m["type"] == "checkpoint" for m in messages))
    child.signal(signal.SIGTERM)
    assert child.wait(20) == 75, child.stderr[-3000:]
    newest = max(tmp_path.glob("ckpt-*"))
    arrays = StoredArrays(newest / "arrays.npz")
    assert arrays[next(iter(arrays))].shape == (5000, 5000)
    assert not list(tmp_path.glob(".ckpt-*"))


MANY_FITS = """
import keras, numpy as np, time
x = np.random.default_rng(1).normal(size=(64, 4)).astype("float32")
model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(20_000), keras.layers.Dense(1)])
model.compile("adam", "mse")
for number in range(15):
    model.fit(x, x[:, :1], epochs=1, verbose=0)
    print("ended", number, flush=True)
WAITS
"""
MANY_FITS_STATE = 3 * 4 * (4 * 20_000 + 20_000 + 20_000 + 1)  # weights, and two of Adam's for each


def test_many_short_fits_make_one_checkpoint_in_an_interval(start_keras, tmp_path: Path) -> None:
    script, checkpoints = tmp_path / "script.py", tmp_path / "checkpoints"
    script.write_text(MANY_FITS.replace("WAITS", ""))
    child = start_keras(script, checkpoint_dir=checkpoints, checkpoint_interval=300)
    assert child.wait() == 0, child.stderr[-3000:]
    [made] = child.of_type("checkpoint")
    assert (made["fit"], made["step"]) == (14, 2)
    written = sum(path.stat().st_size for path in checkpoints.glob("ckpt-*/*"))
    assert written < 15 * 1.1 * MANY_FITS_STATE  # each end once


def test_fits_that_ended_within_an_interval_are_saved_when_the_script_is_stopped(start_keras, tmp_path: Path) -> None:
    script, checkpoints = tmp_path / "script.py", tmp_path / "checkpoints"
    script.write_text(MANY_FITS.replace("WAITS", "print(model.get_weights()[0].sum()); time.sleep(WAITED)"))
    whole = script.read_text()
    script.write_text(whole.replace("WAITED", "0"))
    undisturbed = start_keras(script)
    assert undisturbed.wait() == 0, undisturbed.stderr[-3000:]
    script.write_text(whole.replace("WAITED", "600"))
    stopped = start_keras(script, checkpoint_dir=checkpoints, checkpoint_interval=300)
    stopped.wait_until(lambda messages: sum(m["type"] == "fitEnd" for m in messages) == 15)
    stopped.wait_for_output("ended 14")
    stopped.signal(signal.SIGTERM)
    assert stopped.wait() == 75, stopped.stderr[-3000:]
    [made] = stopped.of_type("checkpoint")
    script.write_text(whole.replace("WAITED", "0"))
    resumed = start_keras(script, resume_dir=made["dir"])
    assert resumed.wait() == 0, resumed.stderr[-3000:]
    assert resumed.stdout == undisturbed.stdout
    assert not resumed.of_type("step")


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3),
        np.asfortranarray(np.arange(6).reshape(2, 3)),
        np.arange(12)[::2],
        np.float32(0.5),
        np.zeros((0, 3)),
        np.array([True, False]),
    ],
    ids=["plain", "columns first", "with gaps", "scalar", "empty", "boolean"],
)
def test_arrays_come_back_as_they_were_also_to_numpy(tmp_path, array):
    path = tmp_path / "arrays.npz"
    stored.write(path, {"a": array, "b": np.ones(3)})
    read = StoredArrays(path)

    for found in (read["a"], np.load(path)["a"]):
        np.testing.assert_array_equal(found, array)
        assert (found.dtype, found.shape) == (array.dtype, array.shape)
    assert list(read) == ["a", "b"]


def test_checkpoints_of_earlier_releases_are_read(tmp_path):
    np.savez(tmp_path / "arrays.npz", a=np.arange(3), b=np.float32(2))
    read = StoredArrays(tmp_path / "arrays.npz")
    assert (read["a"].tolist(), read["b"].shape) == ([0, 1, 2], ())


def test_an_array_of_objects_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="Python objects"):
        stored.write(tmp_path / "arrays.npz", {"a": np.array([{}], dtype=object)})
