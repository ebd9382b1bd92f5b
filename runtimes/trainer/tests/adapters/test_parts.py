"""The parts that need neither a process nor TensorFlow."""

from __future__ import annotations

import enum
import json
import math
from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from headrace_trainer.adapters import checkpoint, values
from headrace_trainer.adapters.checkpoint import Checkpoint, CheckpointError, FinishedFit, Position, Snapshot
from headrace_trainer.adapters.replay import Replay, previous_steps
from headrace_trainer.adapters.settings import Settings, SettingsError
from headrace_trainer.adapters.signature import Signature, Tensor, input_names


@dataclass
class Plain:
    value: Any


class Named(NamedTuple):
    one: int
    other: str


class Colour(enum.Enum):
    RED = 1


def snapshot(number: int = 120, **changes: object) -> Snapshot:
    arrays = {"variable-000000": np.arange(6, dtype="float32").reshape(2, 3), "variable-000001": np.array(3, "int64")}
    fields = {"number": number, "position": Position(1, 2, 35, 120), "between_fits": False, "state": {"numBatches": 40}}
    return Snapshot(**{**fields, "arrays": arrays, "replay": {121: {"loss": 0.1 + 0.2}}, **changes})  # type: ignore[arg-type]


def same(one: Checkpoint, other: Snapshot) -> bool:
    read = one.snapshot
    arrays = read.arrays.keys() == other.arrays.keys() and all(
        np.array_equal(read.arrays[k], other.arrays[k]) for k in other.arrays
    )
    return arrays and (read.number, read.position, read.state, read.replay) == (
        other.number,
        other.position,
        other.state,
        other.replay,
    )


def test_a_checkpoint_is_read_as_it_was_written(tmp_path):
    folder = checkpoint.write(tmp_path, snapshot(), finished=0)
    assert folder.name == "ckpt-00000120"
    assert same(checkpoint.read(folder), snapshot())


def test_a_checkpoint_holds_the_fits_that_had_finished(tmp_path):
    ended = FinishedFit({"steps": 60}, {"variable-000000": np.ones(3)})
    checkpoint.keep(tmp_path, 0, ended)
    read = checkpoint.read(checkpoint.write(tmp_path, snapshot(), finished=1))
    assert read.finished[0].state == ended.state
    np.testing.assert_array_equal(read.finished[0].arrays["variable-000000"], np.ones(3))


def test_a_folder_with_its_final_name_is_never_partial(tmp_path, monkeypatch):
    def disk_full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "_write_json", disk_full)
    with pytest.raises(OSError, match="No space"):
        checkpoint.write(tmp_path, snapshot(), finished=0)
    assert list(tmp_path.glob("ckpt-*")) == []


@pytest.mark.parametrize("damage", ["state.json", "arrays.npz"])
def test_a_damaged_checkpoint_is_refused(tmp_path, damage):
    folder = checkpoint.write(tmp_path, snapshot(), finished=0)
    content = bytearray((folder / damage).read_bytes())
    content[len(content) // 2] ^= 0xFF
    (folder / damage).write_bytes(content[:-7])
    with pytest.raises(CheckpointError, match="cannot be read"):
        checkpoint.read(folder)


def test_a_pickled_array_is_never_loaded(tmp_path):
    folder = checkpoint.write(tmp_path, snapshot(), finished=0)
    np.savez(folder / "arrays.npz", evil=np.array([{"an": "object"}], dtype=object))
    with pytest.raises(CheckpointError, match="never loaded"):
        checkpoint.read(folder)


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        3,
        0.1,
        math.inf,
        "text",
        [1, [2.5]],
        (1, (2,)),
        {"a": 1, 2: (3,)},
        np.float32(0.1),
        {"$kind": "tuple"},
        deque([1, 2], maxlen=2),
        {1, 2},
        frozenset({"a"}),
        defaultdict(list, a=[1]),
        OrderedDict(b=1, a=2),
        Counter("aab"),
        b"bytes",
        datetime(2024, 1, 1),
        timedelta(1),
        Path("a"),
        Plain([1]),
        Named(1, "b"),
        Colour.RED,
    ],
)
def test_plain_values_come_back_as_they_were(value):
    arrays: dict[str, np.ndarray] = {}
    back = values.decode(json.loads(json.dumps(values.encode(value, arrays))), arrays)
    assert back == value
    assert type(back) is type(value)


@pytest.mark.parametrize("value", [np.less, [1, object()], Plain(object())], ids=["function", "list", "dataclass"])
def test_what_is_more_than_data_is_refused(value):
    with pytest.raises(values.NotPlainData):
        values.encode(value, {})


def test_a_class_that_is_not_there_is_refused():
    @dataclass
    class Inner:
        value: int

    with pytest.raises(values.NotPlainData):
        values.encode(Inner(1), {})
    encoded = values.encode(Plain(1), {})
    with pytest.raises(values.NotPlainData):
        values.decode(encoded | {"class": "os:system"}, {})
    with pytest.raises(values.NotPlainData):
        values.decode(encoded | {"class": "subprocess:Popen"}, {})


def test_a_replay_is_exact_when_all_known_steps_are_equal():
    replay = Replay(10, {11: {"loss": 0.5}, 12: {"loss": 0.4}})
    assert replay.compare(11, {"loss": 0.5}) is None
    verdict = replay.compare(12, {"loss": 0.4, "accuracy": 1.0})
    assert verdict is not None
    assert verdict.exact is True


def test_a_replay_is_not_exact_as_soon_as_one_step_differs():
    replay = Replay(10, {11: {"loss": 0.5}, 12: {"loss": 0.4}})
    verdict = replay.compare(11, {"loss": 0.50001})
    assert verdict is not None
    assert verdict.exact is False
    assert verdict.message.startswith("not exact: resumed at step 11, and loss at step 11 was 0.5 and is 0.50001 now")
    assert not replay.expects(12)


def test_one_equal_step_says_nothing_about_the_optimizer():
    verdict = Replay(10, {11: {"loss": 0.5}}).compare(11, {"loss": 0.5})
    assert verdict is not None
    assert verdict.exact is None


def test_a_model_with_a_state_that_is_not_kept_is_never_called_exact():
    replay = Replay(10, {11: {"loss": 0.5}, 12: {"loss": 0.4}}, doubt="table of the model began anew")
    replay.compare(11, {"loss": 0.5})
    verdict = replay.compare(12, {"loss": 0.4})
    assert verdict is not None
    assert (verdict.exact, "table of the model began anew" in verdict.message) == (None, True)


def test_nothing_is_claimed_where_nothing_is_known():
    assert Replay(10, {}).verdict_so_far().exact is None


def test_previous_steps_are_those_of_the_fit_after_the_checkpoint(tmp_path):
    lines = [
        {"fit": 0, "epoch": 1, "step": 20, "loss": 9.0},
        {"fit": 1, "epoch": 0, "step": 20, "loss": 0.3},
        {"fit": 1, "epoch": 0, "step": 10, "loss": 0.5},
        {"fit": 1, "epoch": 0, "step": 21, "loss": None},
    ]
    path = tmp_path / "steps.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert previous_steps(path, fit=1, after=10) == {20: {"loss": 0.3}}


def test_settings_name_what_is_wrong():
    with pytest.raises(SettingsError, match="must name some of TensorFlow, ONNX, Keras, Text, got 'ONXX'"):
        Settings.from_environment({"HEADRACE_FORMATS": "ONXX"})


def test_a_signature_is_in_the_protocols_words():
    signature = Signature(
        (Tensor("tokens", "int32", (None, None)),), (Tensor("probabilities", "float32", (None, 10000)),)
    )
    assert signature.to_json() == (
        '{"inputs":[{"name":"tokens","datatype":"INT32","shape":[-1,-1]}],'
        '"outputs":[{"name":"probabilities","datatype":"FP32","shape":[-1,10000]}]}'
    )


def test_names_that_keras_made_up_do_not_reach_clients():
    assert input_names(["keras_tensor_3", "input_layer", "user/id"]) == ["input", "input_1", "user_id"]
