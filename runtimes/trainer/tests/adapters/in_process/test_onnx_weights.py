"""Large weights lie beside the ONNX file: the graph is converted without them, and is the same with them."""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from trainer_support import Server, answers, free_port

from headrace_onnxruntime import engine as onnx_engine
from headrace_trainer.adapters.models import Trained
from later import Later

keras, layers, tf = Later("keras"), Later("keras.layers"), Later("tensorflow")
export, keras_onnx, onnx_weights = (
    Later(f"headrace_trainer.adapters.keras.export.{name}") for name in ("servable", "onnx", "onnx_weights")
)


@pytest.fixture
def all_beside(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if each model, and each of its weights, were a large one."""
    for limit in ("LARGE_MODEL", "LARGE_WEIGHT", "LSTM_SEEN"):
        monkeypatch.setattr(onnx_weights.module(), limit, 0)


def made(model: Any, dtype: str = "float32") -> Any:
    """Compared on four rows."""
    shape = (4, *(5 if size is None else size for size in model.inputs[0].shape[1:]))
    random = np.random.default_rng(0)
    rows = random.integers(0, 3, shape) if dtype == "int64" else random.normal(size=shape)
    return export.servable(Trained(model, tf.TensorSpec((None, *shape[1:]), dtype), lambda: rows.astype(dtype)))


def mixed(inputs: Any) -> Any:
    return layers.Dense(4, dtype=keras.DTypePolicy("mixed_float16"))(inputs)


def own() -> Any:
    class Own(layers.Layer):
        """A layer of a script, with operations of TensorFlow's."""

        def build(self, shape):
            self.matrix = self.add_weight(shape=(shape[-1], 3), name="matrix")

        def call(self, inputs):
            return tf.matmul(inputs, self.matrix) + tf.reduce_sum(self.matrix.value)

    return Own()


KINDS = {
    "dense": ((6,), lambda x: layers.Dense(4)(x)),
    "dense of a sequence": ((5, 6), lambda x: layers.Dense(4)(x)),
    "normalized": ((6,), lambda x: layers.BatchNormalization()(x)),
    "mixed precision": ((6,), mixed),
    "convolution": ((9, 9, 3), lambda x: layers.Conv2D(4, 3)(x)),
    "convolution of a sequence": ((9, 3), lambda x: layers.Conv1D(4, 3)(x)),
    "causal convolution": ((9, 3), lambda x: layers.Conv1D(4, 3, padding="causal", dilation_rate=2)(x)),
    "convolution in space": ((6, 6, 6, 2), lambda x: layers.Conv3D(4, 3)(x)),
    "transposed convolution": ((5, 5, 3), lambda x: layers.Conv2DTranspose(4, 3, strides=2)(x)),
    "depthwise convolution": ((9, 9, 3), lambda x: layers.DepthwiseConv2D(3)(x)),
    "separable convolution": ((9, 9, 3), lambda x: layers.SeparableConv2D(4, 3)(x)),
    "einsum": ((5, 6), lambda x: layers.EinsumDense("abc,cd->abd", output_shape=(None, 4))(x)),
    "attention": ((5, 6), lambda x: layers.MultiHeadAttention(2, 4)(x, x)),
    "lstm": ((5, 6), lambda x: layers.LSTM(4)(x)),
    "gru": ((5, 6), lambda x: layers.GRU(4)(x)),
    "both ways": ((5, 6), lambda x: layers.Bidirectional(layers.LSTM(4, return_sequences=True))(x)),
    "a layer of the script's": ((6,), lambda x: own()(x)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_with_its_weights_beside_it_computes_what_keras_does(kind: str, all_beside: None, tmp_path: Path):
    shape, layer = KINDS[kind]
    inputs = keras.Input(shape, name="x")
    model = keras.Model(inputs, layers.Identity(name="y")(layer(inputs)))

    keras_onnx.write(made(model), tmp_path / "onnx")

    graph = onnx.load(tmp_path / "onnx" / "model.onnx", load_external_data=False).graph
    external = [tensor for tensor in graph.initializer if tensor.data_location == onnx.TensorProto.EXTERNAL]
    assert [value.name for value in graph.input] == ["x"]
    assert len(external) == len(model.weights)
    assert sum(tensor.ByteSize() for tensor in graph.initializer) < 300 * len(graph.initializer)


def embedding() -> Any:
    keras.utils.set_random_seed(3)
    tokens = keras.Input((None,), dtype="int64", name="tokens")
    rows = layers.GlobalAveragePooling1D()(layers.Embedding(40_000, 128)(tokens))
    return keras.Model(tokens, layers.Dense(1, name="score")(rows))


def test_the_same_weights_are_the_same_bytes(tmp_path: Path):
    for name in ("one", "other"):
        keras_onnx.write(made(embedding(), "int64"), tmp_path / name)

    for file in ("model.onnx", "model.onnx.data"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "other" / file).read_bytes()
    assert (tmp_path / "one" / "model.onnx").stat().st_size < 100_000
    assert (tmp_path / "one" / "model.onnx.data").stat().st_size == 40_000 * 128 * 4


def test_the_server_answers_with_a_model_whose_weights_lie_beside_it(tmp_path: Path):
    model = embedding()
    keras_onnx.write(made(model, "int64"), tmp_path / "model" / "onnx")
    tokens = [[7, 39_999, 0]]
    port, metrics = free_port(), free_port()
    url = f"http://127.0.0.1:{port}/v2/models/large"
    command = [sys.executable, "-m", "headrace_onnxruntime", f"--model-dir={tmp_path / 'model'}", "--model-name=large"]
    command += ["--bind=127.0.0.1", f"--port={port}", f"--metrics-port={metrics}", "--grpc-port=0"]
    server = Server(command, dict(os.environ), tmp_path / "server.log", lambda: answers(f"{url}/ready"))
    try:
        server.start()
        server.await_up()
        asked = {"inputs": [{"name": "tokens", "datatype": "INT64", "shape": [1, 3], "data": tokens}]}
        request = urllib.request.Request(f"{url}/infer", json.dumps(asked).encode())
        with urllib.request.urlopen(request, timeout=60) as response:
            [output] = json.loads(response.read())["outputs"]
    finally:
        server.stop()

    np.testing.assert_allclose([output["data"]], model(np.array(tokens)), rtol=1e-5, atol=1e-6)


def test_a_small_model_is_one_file(tmp_path: Path):
    keras_onnx.write(made(keras.Sequential([keras.Input((6,)), layers.Dense(4)])), tmp_path / "onnx")

    assert [path.name for path in (tmp_path / "onnx").iterdir()] == ["model.onnx"]


def test_weights_that_nothing_reads_are_not_written(all_beside: None, tmp_path: Path):
    class Idle(layers.Layer):
        def build(self, shape):
            self.idle = self.add_weight(shape=(1000,))

        def call(self, inputs):
            return inputs

    keras_onnx.write(made(keras.Sequential([keras.Input((6,)), Idle()])), tmp_path / "onnx")

    assert [path.name for path in (tmp_path / "onnx").iterdir()] == ["model.onnx"]


def test_an_lstm_of_ordinary_size_stays_one_operation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(onnx_weights.module(), "LARGE_MODEL", 0)
    monkeypatch.setattr(onnx_weights.module(), "LARGE_WEIGHT", 0)

    keras_onnx.write(made(keras.Sequential([keras.Input((5, 6)), layers.LSTM(4), layers.Dense(3)])), tmp_path / "onnx")

    assert "LSTM" in {node.op_type for node in onnx.load(tmp_path / "onnx" / "model.onnx").graph.node}


def test_more_small_weights_than_a_file_holds_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(keras_onnx.module(), "_MAX_BYTES", 10)

    with pytest.raises(
        export.ExportError, match="in weights of less than 64 KiB each, and an ONNX file holds 1 GiB of such"
    ):
        keras_onnx.write(made(keras.Sequential([keras.Input((6,)), layers.Dense(4)])), tmp_path / "onnx")


@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_the_place_of_the_largest_number_is_exported(name: str, tmp_path: Path):
    place = getattr(keras.ops, name)
    inputs = keras.Input((4,), name="x")
    model = keras.Model(inputs, {"place": place(inputs, axis=-1), "same": inputs * 1.0})
    rows = np.array([[1, 3, 2, 3], [-0.0, 0.0, -0.0, 0.0], [0.0, -0.0, 0.0, 5], [-1, -2, -0.0, 0.0]], "float32")

    keras_onnx.write(export.servable(Trained(model, tf.TensorSpec((None, 4)), lambda: rows)), tmp_path / "onnx")

    places = onnx_engine.load(tmp_path, 1).run({"x": rows})[0]
    assert (places.dtype, places.tolist()) == (np.int32, np.asarray(place(rows, axis=-1)).tolist())
