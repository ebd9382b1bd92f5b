"""A SavedModel, by TensorFlow, by the signature that its server answers with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from headrace_common.formats import FOLDERS, ModelFormat
from headrace_trainer.evaluation.artifact.kind import TEXT, Array, Tensor
from headrace_trainer.evaluation.refusal import Refusal, words_of

_SIGNATURE = "serving_default"


class SavedModel:
    """Make it with `load`."""

    format = str(ModelFormat.TENSORFLOW)
    classes: tuple[str, ...] = ()

    def __init__(self, whole: Any, serve: Any) -> None:
        self._whole = whole  # its variables live as long as it does
        self._serve = serve
        self._dtypes = {name: spec.dtype for name, spec in serve.structured_input_signature[1].items()}
        self.inputs = tuple(_tensor(name, spec) for name, spec in serve.structured_input_signature[1].items())
        self.outputs = tuple(_tensor(name, spec) for name, spec in serve.structured_outputs.items())

    def run(self, feed: Mapping[str, Array]) -> dict[str, Array]:
        tensors = {name: tf.constant(values, self._dtypes[name]) for name, values in feed.items()}
        return {name: _values(value) for name, value in self._serve(**tensors).items()}

    def gradient(self, feed: Mapping[str, Array], output: str, target: Array) -> dict[str, Array]:
        """Of the value that each row's target has in the output."""
        tensors = {name: tf.constant(values, self._dtypes[name]) for name, values in feed.items()}
        with tf.GradientTape() as tape:
            tape.watch(list(tensors.values()))
            flat = tf.reshape(self._serve(**tensors)[output], (len(target), -1))
            total = tf.reduce_sum(tf.gather(flat, target, batch_dims=1))
        found = tape.gradient(total, tensors)
        lacking = [name for name, value in found.items() if value is None]
        if lacking:
            raise ValueError(f"no gradient reaches the input {', '.join(lacking)}")
        return {name: _values(tf.convert_to_tensor(value)) for name, value in found.items()}


def load(folder: Path) -> SavedModel:
    """The model in a model's folder. Raises Refusal."""
    try:
        whole = tf.saved_model.load(str(folder / FOLDERS[ModelFormat.TENSORFLOW]))
        return SavedModel(whole, whole.signatures[_SIGNATURE])
    except Exception as error:  # whatever it is that the library does not like
        raise Refusal(
            f"the SavedModel cannot be loaded: {words_of(error)}",
            f"It needs the signature {_SIGNATURE}, and operations that TensorFlow itself has. Or name evaluate.format: "
            "ONNX.",
        ) from error


def _tensor(name: str, spec: Any) -> Tensor:
    dtype = TEXT if spec.dtype == tf.string else spec.dtype.name
    return Tensor(name, "float32" if dtype == "bfloat16" else dtype, tuple(spec.shape) if spec.shape.rank else ())


def _values(value: Any) -> Array:
    found: Array = value.numpy()
    return found.astype(np.float32) if found.dtype.name == "bfloat16" else found
