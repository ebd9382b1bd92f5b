"""Rows of the training data are kept with the model, unless the data is private."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headrace_trainer.adapters import input_example
from headrace_trainer.launcher.model import mlmodel
from later import Later

mlflow_models = Later("mlflow.models")

SCRIPT = """
import sys
import keras, numpy as np, tensorflow as tf

x = np.arange(60, dtype="float32").reshape(20, 3) + 0.25
y = np.zeros((20, 1), "float32")
data = {
    "arrays": (x, y),
    "pipeline": (tf.data.Dataset.from_tensor_slices((x, y)).batch(4),),
    "shuffled": (tf.data.Dataset.from_tensor_slices((x, y)).shuffle(20).batch(4),),
    "augmented": (tf.data.Dataset.from_tensor_slices((x, y)).batch(4).map(lambda a, b: (a + tf.random.normal([]), b)),),
}[sys.argv[1].removeprefix("--data=")]
model = keras.Sequential([keras.Input((3,), name="sizes"), keras.layers.Dense(1, name="weight")])
model.compile("sgd", "mse")
model.fit(*data, epochs=1)
"""
FIRST_ROW = [0.25, 1.25, 2.25]


@pytest.fixture
def export(start_keras, tmp_path: Path) -> Any:
    """The folder of what a script exports."""

    def run(data: str, **settings: Any) -> Path:
        (tmp_path / "train.py").write_text(SCRIPT)
        given = {"export_dir": tmp_path / "model", "formats": "TensorFlow", **settings}
        child = start_keras(tmp_path / "train.py", f"--data={data}", **given)
        assert child.wait() == 0, child.stderr[-3000:]
        mlmodel.write(tmp_path / "model", ("TensorFlow",), {})
        return tmp_path / "model"

    return run


@pytest.mark.parametrize("data", ["arrays", "pipeline"])
def test_mlflow_finds_rows_of_the_training_data(export, data: str) -> None:
    folder = export(data)

    example = mlflow_models.Model.load(folder).load_input_example(str(folder))
    assert example["sizes"].dtype == np.float32
    assert example["sizes"][0].tolist() == FIRST_ROW
    request = json.loads((folder / "serving_input_example.json").read_text())
    assert request["inputs"]["sizes"][0] == FIRST_ROW


def test_of_private_data_no_row_is_in_the_model(export) -> None:
    folder = export("arrays", input_example="None")

    described = mlflow_models.Model.load(folder)
    assert described.saved_input_example_info is None
    assert [tensor.name for tensor in described.signature.inputs] == ["sizes"]
    assert not list(folder.rglob("*example*"))


@pytest.mark.parametrize("data", ["shuffled", "augmented"])
def test_rows_that_another_attempt_would_not_take_are_not_in_the_digest(export, data: str) -> None:
    assert not list(export(data).rglob("*example*"))


def test_text_is_text_and_rows_are_few() -> None:
    inputs = {"town": np.array([[b"K\xc3\xb6ln"]] * 8, dtype=object), "size": np.ones((8, 1), "float16")}

    decoded = json.loads(input_example.encode(inputs, is_batch_free=True) or "")

    assert decoded == {"town": [["Köln"]] * 5, "size": [[1.0]] * 5}


def test_a_model_of_a_fixed_batch_gets_all_rows() -> None:
    decoded = json.loads(input_example.encode({"x": np.ones((8, 1))}, is_batch_free=False) or "")

    assert len(decoded["x"]) == 8


@pytest.mark.parametrize(
    "values",
    [np.array([[np.nan]]), np.array([[b"\xff"]], dtype=object), np.zeros((1, input_example.MAX_CHARACTERS))],
    ids=["not a number", "no text", "large"],
)
def test_what_json_does_not_have_or_is_large_is_left_out(values: np.ndarray) -> None:
    assert input_example.encode({"x": values}, is_batch_free=True) is None


def test_of_large_rows_one_is_kept() -> None:
    rows = np.full((8, input_example.MAX_CHARACTERS // 8), 1.5)

    assert len(json.loads(input_example.encode({"x": rows}, is_batch_free=True) or "")["x"]) == 1
