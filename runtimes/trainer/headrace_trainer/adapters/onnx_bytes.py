"""An ONNX model as bytes that depend on its weights and operations alone, so that the same model has the same digest
in each process.

tf2onnx names nodes and values after counters that differ between processes, and its initializers come in changing
order. Here everything inside the graph is named by its position, initializers by their content; inputs and outputs
keep their names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import Any

import onnx


def canonical(model: Any, of_own_size: Collection[str] = ()) -> bytes:
    """The canonical bytes of an ONNX model; the model that is given stays as it is. The sizes of inputs and outputs
    `of_own_size` are not those of others: ONNX Runtime may put what has sizes of one name into the same memory.
    """
    copy = onnx.ModelProto.FromString(model.SerializeToString())
    copy.ClearField("metadata_props")
    copy.ClearField("doc_string")
    _rename(copy.graph, outer={}, prefix="")
    _name_sizes(copy.graph, of_own_size)
    return bytes(copy.SerializeToString(deterministic=True))


def _rename(graph: Any, outer: dict[str, str], prefix: str) -> None:
    """Renames the values of a graph and of the graphs inside of its nodes (loops, branches)."""
    graph.ClearField("doc_string")
    graph.name = f"{prefix}graph"
    del graph.value_info[:]
    names = dict(outer)
    interface = [value.name for value in (*graph.input, *graph.output)]
    is_main = not prefix
    for index, name in enumerate(dict.fromkeys(interface)):
        names[name] = name if is_main else f"{prefix}v{index}"
    # In place, and by their digests: the weights of a large model are not to be in memory once more.
    tensors = graph.initializer
    tensors.sort(key=lambda tensor: (tensor.data_type, tuple(tensor.dims), _digest(tensor)))
    for index, tensor in enumerate(tensors):
        names.setdefault(tensor.name, f"{prefix}w{index}")
    for index, node in enumerate(graph.node):
        node.name = f"{prefix}n{index}"
        node.ClearField("doc_string")
        for position, output in enumerate(node.output):
            if output:
                names.setdefault(output, f"{prefix}t{index}_{position}")
    for tensor in tensors:
        tensor.name = names[tensor.name]
        tensor.ClearField("doc_string")
    for index, node in enumerate(graph.node):
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
        attributes = sorted(node.attribute, key=lambda attribute: attribute.name)
        for attribute in attributes:
            if attribute.HasField("g"):
                _rename(attribute.g, names, f"{prefix}n{index}_{attribute.name}_")
    for value in (*graph.input, *graph.output):
        value.name = names[value.name]


def _digest(tensor: Any) -> bytes:
    unnamed = onnx.TensorProto.FromString(tensor.SerializeToString())
    unnamed.ClearField("name")
    unnamed.ClearField("doc_string")
    return hashlib.sha256(unnamed.SerializeToString(deterministic=True)).digest()


def _name_sizes(graph: Any, of_own_size: Collection[str]) -> None:
    """tf2onnx numbers the sizes that are not fixed; the first of each tensor is the batch."""
    for value in (*graph.input, *graph.output):
        for index, size in enumerate(value.type.tensor_type.shape.dim):
            if size.dim_param:
                own = f"{value.name}." if value.name in of_own_size else ""
                size.dim_param = "batch" if index == 0 else f"{own}size_{index}"
