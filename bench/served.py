"""The models that bench/serving.py serves, and a request of each: drawn by a seed, written by what the project exports
with.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

OPSET = 17
TOKENS = 40


@dataclass(frozen=True)
class Served:
    """A model's file, and the one input that each request has."""

    path: Path
    name: str
    value: Any  # numpy's

    def json_body(self) -> bytes:
        return json.dumps({"inputs": [self._entry() | {"data": self.value.ravel().tolist()}]}).encode()

    def binary_body(self) -> tuple[bytes, int]:
        """The body, and the length of its JSON: the protocol's binary extension, for the answer, too."""
        raw = self.value.tobytes()
        entry = self._entry() | {"parameters": {"binary_data_size": len(raw)}}
        head = json.dumps({"inputs": [entry], "parameters": {"binary_data_output": True}}).encode()
        return head + raw, len(head)

    def _entry(self) -> dict[str, Any]:
        datatype = {"float32": "FP32", "int32": "INT32"}[str(self.value.dtype)]
        return {"name": self.name, "shape": list(self.value.shape), "datatype": datatype}


def make(kind: str, folder: Path) -> Served:
    """The model of this kind, from `folder` where it is there already."""
    build, name, value = KINDS[kind]
    path = folder / kind / "onnx" / "model.onnx"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(".new")
        new.write_bytes(build())
        new.rename(path)
    return Served(path, name, value())


def _from_keras(build: Callable[[Any], Any], name: str, dtype: str, shape: tuple[int | None, ...]) -> bytes:
    import keras
    import tensorflow as tf
    import tf2onnx

    keras.utils.set_random_seed(0)
    model = build(keras)
    signature = [tf.TensorSpec((None, *shape), dtype, name=name)]
    graph, _ = tf2onnx.convert.from_function(
        tf.function(lambda given: model(given, training=False), input_signature=signature), signature, opset=OPSET
    )
    return bytes(graph.SerializeToString())


def _lstm() -> bytes:
    def build(keras: Any) -> Any:
        layers = keras.layers
        return keras.Sequential(
            [
                keras.Input((None,), dtype="int32"),
                layers.Embedding(100, 32),
                layers.LSTM(64),
                layers.Dense(100, activation="softmax"),
            ]
        )

    return _from_keras(build, "tokens", "int32", (None,))


def _transformer() -> bytes:
    def build(keras: Any) -> Any:
        layers = keras.layers
        tokens = keras.Input((TOKENS,), dtype="int32")
        x = layers.Embedding(100, 64)(tokens)
        for _ in range(2):
            x = layers.LayerNormalization()(x + layers.MultiHeadAttention(4, 16)(x, x))
            x = layers.LayerNormalization()(x + layers.Dense(64)(layers.Dense(128, activation="relu")(x)))
        return keras.Model(tokens, layers.Dense(10, activation="softmax")(layers.GlobalAveragePooling1D()(x)))

    return _from_keras(build, "tokens", "int32", (TOKENS,))


def _cnn() -> bytes:
    def build(keras: Any) -> Any:
        return keras.applications.MobileNetV2(weights=None, classes=1000)

    return _from_keras(build, "image", "float32", (224, 224, 3))


def _forest() -> bytes:
    from skl2onnx import to_onnx
    from sklearn.datasets import load_breast_cancer
    from sklearn.ensemble import RandomForestClassifier

    rows, labels = load_breast_cancer(return_X_y=True)
    rows = rows.astype(np.float32)
    forest = RandomForestClassifier(n_estimators=100, random_state=0).fit(rows, labels)
    made = to_onnx(forest, rows[:1], options={"zipmap": False}, target_opset=OPSET)
    del made.graph.output[0]  # the class: one float output for all models
    return bytes(made.SerializeToString())


def _tokens() -> Any:
    return np.random.default_rng(0).integers(0, 100, (1, TOKENS), dtype=np.int32)


KINDS: dict[str, tuple[Callable[[], bytes], str, Callable[[], Any]]] = {
    "lstm": (_lstm, "tokens", _tokens),
    "transformer": (_transformer, "tokens", _tokens),
    "forest": (_forest, "X", lambda: np.random.default_rng(0).random((1, 30), dtype=np.float32)),
    "cnn": (_cnn, "image", lambda: np.random.default_rng(0).random((1, 224, 224, 3), dtype=np.float32)),
}
