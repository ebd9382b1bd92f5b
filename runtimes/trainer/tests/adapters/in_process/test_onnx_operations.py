"""Operations of TensorFlow's that ONNX has by other names: exported, and compared with Keras."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from headrace_trainer.adapters.models import Trained
from later import Later

keras, layers, tf, tf2onnx = (Later(name) for name in ("keras", "keras.layers", "tensorflow", "tf2onnx"))
export, keras_onnx = (Later(f"headrace_trainer.adapters.keras.export.{name}") for name in ("servable", "onnx"))


def exported(model: Any, rows: np.ndarray, folder: Path) -> onnxruntime.InferenceSession:
    """The model's file, which has been compared with Keras on these rows."""
    made = export.servable(Trained(model, tf.TensorSpec((None, *rows.shape[1:]), rows.dtype), lambda: rows))
    keras_onnx.write(made, folder)
    return onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])


def computed(session: onnxruntime.InferenceSession, rows: np.ndarray) -> np.ndarray:
    return session.run(None, {session.get_inputs()[0].name: rows})[0].astype("float64")


def own(of: Callable[[Any], Any], dtype: str) -> Any:
    class Own(layers.Layer):
        """A function in a script's own layer."""

        def call(self, inputs):
            return of(inputs)

    return Own(dtype=dtype)


# Where GELU turns, where 1 - erf cancels, and where a last step of it that is left over would be large.
NUMBERS = np.concatenate([np.linspace(-15, 15, 6001), [1e4, -1e4, 3e4, -3e4]])


@pytest.mark.parametrize(("dtype", "step"), [("float32", 2.0**-23), ("float16", 2.0**-10)])
def test_gelu_is_as_exact_as_its_type_on_all_numbers(dtype: str, step: float, tmp_path: Path):
    numbers = NUMBERS[:, None].astype(dtype)
    model = keras.Sequential([keras.Input((1,), dtype=dtype), layers.Activation("gelu", dtype=dtype)])

    onnx = computed(exported(model, numbers, tmp_path / "onnx"), numbers)

    np.testing.assert_allclose(onnx, np.asarray(model(numbers), "float64"), rtol=8 * step, atol=4 * 2.0**-23)


FUNCTIONS = {"expm1": (-1.0, 80.0), "log1p": (-0.999, 3e38)}


@pytest.mark.parametrize(("dtype", "step"), [("float32", 2.0**-23), ("float16", 2.0**-10)])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_for_small_numbers_is_exact_there(function: str, dtype: str, step: float, tmp_path: Path):
    lowest, highest = FUNCTIONS[function]
    if dtype == "float16":
        highest = min(highest, 10.0)
    small = np.concatenate([np.geomspace(1e-7, 0.9, 500), [0.0, 0.5]])
    numbers = np.concatenate([small, -small, np.geomspace(1, highest, 200), [lowest]])[:, None].astype(dtype)
    model = keras.Sequential([keras.Input((1,), dtype=dtype), own(getattr(keras.ops, function), dtype)])

    onnx = computed(exported(model, numbers, tmp_path / "onnx"), numbers)

    np.testing.assert_allclose(onnx, np.asarray(model(numbers), "float64"), rtol=8 * step, atol=0)


def test_infinities_and_no_numbers_stay_what_they_are(tmp_path: Path):
    numbers = np.array([[np.inf], [-np.inf], [np.nan], [-1.0]], "float32")
    inputs = keras.Input((1,))
    both = keras.ops.concatenate([keras.ops.expm1(inputs), keras.ops.log1p(inputs)])
    model = keras.Model(inputs, both)

    onnx = computed(exported(model, numbers, tmp_path / "onnx"), numbers)

    np.testing.assert_array_equal(onnx, np.asarray(model(numbers), "float64"))


@pytest.mark.parametrize("dtype", ["float32", "int32", "int64"])
def test_bins_are_those_of_keras(dtype: str, tmp_path: Path):
    numbers = np.array([[-3.0, -1.0, 0.0], [0.5, 2.0, 7.0]]).astype(dtype)
    bins = layers.Discretization(bin_boundaries=[-1.0, 0.5, 2.0])
    model = keras.Sequential([keras.Input((3,), dtype=dtype), bins])

    onnx = computed(exported(model, numbers, tmp_path / "onnx"), numbers)

    expected = {"float32": [[0, 1, 1], [2, 3, 3]]}.get(dtype, [[0, 1, 1], [1, 3, 3]])
    assert onnx.tolist() == expected


def test_what_is_no_number_is_in_keras_bin(tmp_path: Path):
    numbers = np.array([[np.nan], [np.inf], [-np.inf]], "float32")
    model = keras.Sequential([keras.Input((1,)), layers.Discretization(bin_boundaries=[0.0, 1.0])])

    onnx = computed(exported(model, numbers, tmp_path / "onnx"), numbers)

    assert onnx.tolist() == np.asarray(model(numbers)).tolist()


@pytest.mark.parametrize(
    ("shape", "convolution"),
    [
        ((8, 8, 4), lambda: layers.Conv2D(6, 3, groups=2, strides=2, padding="same")),
        ((8, 4), lambda: layers.Conv1D(6, 3, groups=2)),
    ],
    ids=["pictures", "sequences"],
)
def test_a_convolution_in_groups_is_exported(shape: tuple[int, ...], convolution, tmp_path: Path):
    rows = np.random.default_rng(0).normal(size=(4, *shape)).astype("float32")

    exported(keras.Sequential([keras.Input(shape), convolution()]), rows, tmp_path / "onnx")


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_a_transformer_block_with_gelu_is_exported(policy: str, tmp_path: Path):
    rows = np.random.default_rng(0).normal(size=(4, 5, 8)).astype("float32")
    inputs = keras.Input((5, 8))
    x = layers.MultiHeadAttention(2, 4, dtype=policy)(inputs, inputs)
    x = layers.Dense(8, dtype=policy)(layers.Dense(16, activation="gelu", dtype=policy)(x))

    session = exported(
        keras.Model(inputs, layers.LayerNormalization(dtype="float32")(x + inputs)), rows, tmp_path / "o"
    )

    assert np.isfinite(computed(session, rows)).all()


def test_gelu_in_a_loop_over_a_sequence_is_exported(tmp_path: Path):
    rows = np.random.default_rng(0).normal(size=(4, 5, 3)).astype("float32")

    exported(keras.Sequential([keras.Input((5, 3)), layers.SimpleRNN(4, activation="gelu")]), rows, tmp_path / "onnx")


def test_gelu_of_float64_which_onnx_runtime_cannot_do_names_its_layer(tmp_path: Path):
    rows = np.ones((4, 3))
    model = keras.Sequential([keras.Input((3,), dtype="float64"), layers.Activation("gelu", dtype="float64", name="g")])

    with pytest.raises(export.ExportError, match=r"layer 'g' \(Activation\) computes Erfc"):
        exported(model, rows, tmp_path / "onnx")


def test_a_script_that_converts_its_own_model_meets_tf2onnx_as_it_is(tmp_path: Path):
    before = {
        domain: [dict(names) for names in opsets] for domain, opsets in tf2onnx.handler.tf_op.get_opsets().items()
    }

    exported(keras.Sequential([keras.Input((3,)), layers.Dense(2, activation="gelu")]), np.ones((4, 3)), tmp_path / "o")

    assert before == tf2onnx.handler.tf_op.get_opsets()
