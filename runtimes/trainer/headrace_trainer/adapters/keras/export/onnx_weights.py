"""The weights of a large model, beside its ONNX file.

A file of protobuf holds 2 GiB, and the converter copies its graph, with all that is in it, dozens of times. So the
graph of a large model is converted without its weights: inputs stand for them (`lifted`), which become initializers
again in the end, with their content in one file beside the model (`put_back`; "external data" of the ONNX
specification). Each byte is copied once, from the model to that file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import tensorflow as tf

# A model with fewer bytes is one file, and so is one whose weights are small each.
LARGE_MODEL = 16 * 2**20
LARGE_WEIGHT = 64 * 2**10
# The converter makes ONNX' own LSTM only of one whose weights it sees; of others a loop, which is slower.
LSTM_SEEN = 64 * 2**20
_ALIGNMENT = 4096  # so that the file can be mapped into memory


@dataclass(frozen=True)
class Lifted:
    """Weights that a graph is converted without, in the model's order; each by the name of its input."""

    weights: dict[str, Any]

    @property
    def specs(self) -> list[Any]:
        """What the inputs look like."""
        return [tf.TensorSpec(weight.shape, weight.dtype, name=name) for name, weight in self.weights.items()]

    def around(self, serve: Callable[..., Any]) -> Callable[..., Any]:
        """`serve` with the weights as further arguments."""

        def serve_with(*tensors: Any) -> Any:
            count = len(tensors) - len(self.weights)
            given = zip(self.weights.values(), tensors[count:], strict=True)
            with keras.StatelessScope(state_mapping=list(given)):
                return serve(*tensors[:count])

        return serve_with

    def put_back(self, model: Any, data: Path) -> None:
        """Makes initializers of the inputs of an ONNX model, with their content in `data`: in the model's order, so
        that the same weights are the same bytes. Of what nothing reads no byte is written.
        """
        read = set(_read(model.graph))
        inputs = [value for value in model.graph.input if value.name not in self.weights]
        del model.graph.input[:]
        model.graph.input.extend(inputs)
        with data.open("wb") as file:
            for name, weight in self.weights.items():
                if name in read:
                    model.graph.initializer.append(_written(file, name, weight, data.name))
        if not data.stat().st_size:
            data.unlink()


def lifted(model: Any) -> Lifted:
    """The weights that are taken out of the graph: none of a small model."""
    weights = {id(weight): weight for weight in model.variables}
    if sum(map(bytes_of, weights.values())) < LARGE_MODEL:
        return Lifted({})
    of_lstms = [
        weight for layer in model._flatten_layers() if isinstance(layer, keras.layers.LSTM) for weight in layer.weights
    ]
    if sum(map(bytes_of, of_lstms)) < LSTM_SEEN:
        for weight in of_lstms:
            weights.pop(id(weight), None)
    large = [weight for weight in weights.values() if bytes_of(weight) >= LARGE_WEIGHT]
    return Lifted({f"headrace_weight_{index}": weight for index, weight in enumerate(large)})


def bytes_of(weight: Any) -> int:
    """The size of a variable."""
    return int(np.prod(weight.shape, dtype=np.int64)) * int(tf.as_dtype(weight.dtype).size)


def _written(file: Any, name: str, weight: Any, location: str) -> Any:
    file.write(bytes(-file.tell() % _ALIGNMENT))
    offset = file.tell()
    values = np.ascontiguousarray(tf.convert_to_tensor(weight))  # on a CPU the model's own memory
    file.write(values.reshape(-1).view(np.uint8))
    tensor = onnx.TensorProto(
        name=name, dims=values.shape, data_type=onnx.helper.np_dtype_to_tensor_dtype(values.dtype)
    )
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", values.nbytes)):
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def _read(graph: Any) -> Iterator[str]:
    """The names that a graph's nodes read, also inside of loops and branches, or that it gives out."""
    yield from (value.name for value in graph.output)
    for node in graph.node:
        yield from node.input
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _read(attribute.g)
