"""A checkpoint of a large state takes memory for one copy of it, which is used again; a resume takes none."""

from __future__ import annotations

import gc
import json
import signal
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from headrace_trainer.adapters import arrays as stored
from headrace_trainer.adapters.arrays import StoredArrays
from headrace_trainer.adapters.keras.host_copy import HostCopy

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
    assert StoredArrays(newest / "arrays.npz")["variable-000000"].shape == (5000, 5000)
    assert not list(tmp_path.glob(".ckpt-*"))


@pytest.fixture
def variables():
    return {
        "tensorflow": tf.Variable([1.0, 2.0]),
        "keras": keras.Variable([[3.0]]),
        "scalar": tf.Variable(4, dtype=tf.int64),
        "bfloat16": tf.Variable([5.0], dtype=tf.bfloat16),
    }


def test_what_was_copied_stays_when_the_variables_change(variables):
    copy = HostCopy()
    taken = copy.take(variables)
    for variable in variables.values():
        variable.assign_add(tf.ones_like(variable.value if isinstance(variable, keras.Variable) else variable))
    later = copy.take(variables)

    assert {name: np.ravel(value)[0] for name, value in taken.items()} == {
        "tensorflow": 1,
        "keras": 3,
        "scalar": 4,
        "bfloat16": 5,
    }
    assert later["tensorflow"].tolist() == [2, 3]


def test_memory_that_nobody_holds_any_more_is_used_again(variables):
    copy = HostCopy()
    first = copy.take(variables)
    address = first["tensorflow"].ctypes.data
    del first
    gc.collect()
    assert copy.take(variables)["tensorflow"].ctypes.data == address


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
