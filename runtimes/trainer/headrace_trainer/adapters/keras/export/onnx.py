"""Converts a model to ONNX, or says which of its layers ONNX cannot have."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import tensorflow as tf
from keras.src.backend.tensorflow import numpy as keras_numpy

from headrace_trainer.adapters import onnx_bytes
from headrace_trainer.adapters.keras.export import onnx_operations, onnx_weights
from headrace_trainer.adapters.keras.export.servable import Array, ExportError, Servable
from headrace_trainer.adapters.keras.models import weights

MODEL, DATA = "model.onnx", "model.onnx.data"
_OPSET = 17
_MAX_BYTES = 2**30  # of what is left in the graph; protobuf holds twice that
_DATA_ONLY = frozenset({"Placeholder", "Const", "Identity", "NoOp"})


@dataclass(frozen=True)
class Custom:
    """Operations of a domain that is not ONNX' own, which ONNX Runtime has, and the rewriter that puts them in; and the
    inputs and outputs that have sizes of their own.
    """

    rewrite: Callable[[Any, list[Any]], list[Any]]
    domain: str
    operations: frozenset[str]
    of_own_size: frozenset[str]


def write(servable: Servable, folder: Path) -> None:
    """The model's file, checked, with the weights of a large one beside it. Raises ExportError with the layer that
    stands in the way, or what the converter raises.
    """
    runtime = convert(servable, folder)
    names = [output.name for output in runtime.get_outputs()]

    def compute(inputs: dict[str, Array]) -> dict[str, Array]:
        return dict(zip(names, runtime.run(names, inputs), strict=True))

    servable.check("the ONNX model", compute)


def convert(servable: Servable, folder: Path, custom: Custom | None = None) -> Any:
    """As `write`, loaded in ONNX Runtime, and not checked."""
    import onnxruntime

    _refuse_bfloat16(servable.model)
    taken = onnx_weights.lifted(servable.model)
    _refuse_too_large(servable.model, taken)
    model = _converted(servable, taken, custom)
    folder.mkdir(parents=True)
    if taken.weights:
        taken.put_back(model, folder / DATA)
    (folder / MODEL).write_bytes(onnx_bytes.canonical(model, custom.of_own_size if custom else ()))
    del model
    options = onnxruntime.SessionOptions()
    # Matrices packed for speed are further copies of a large model, which is asked a few times only.
    options.add_session_config_entry("session.disable_prepacking", "1")
    return onnxruntime.InferenceSession(str(folder / MODEL), options, providers=["CPUExecutionProvider"])


def _converted(servable: Servable, taken: onnx_weights.Lifted, custom: Custom | None) -> Any:
    import tf2onnx

    specs = [*servable.specs, *taken.specs]
    function = tf.function(taken.around(servable.serve), input_signature=specs, autograph=False)
    with _convertible_sign():
        concrete = function.get_concrete_function()
    _let_compiled_functions_be_inlined(concrete.graph)
    _refuse_text_and_tables(servable.model, concrete.graph.as_graph_def())
    # What the function has captured (small weights, an adapted Normalization) comes after its own inputs, and is frozen
    # into the graph. tf2onnx' from_function takes it for inputs.
    inputs = [tensor.name for tensor in concrete.inputs[: len(specs)]]
    outputs = {tensor.name: name for name, tensor in concrete.structured_outputs.items()}
    names = dict(zip(inputs, (spec.name for spec in specs), strict=True)) | outputs
    with tf.device("/cpu:0"):
        frozen = tf2onnx.tf_loader.from_function(concrete, inputs, list(outputs))
    model, _ = tf2onnx.convert.from_graph_def(
        frozen,
        input_names=inputs,
        output_names=list(outputs),
        opset=_OPSET,
        tensors_to_rename=names,
        custom_rewriter=[onnx_operations.rewrite, *([custom.rewrite] if custom else [])],
    )
    if custom is not None:  # not told to tf2onnx, which would take more from that domain: a Range that ONNX has itself
        model.opset_import.append(onnx.helper.make_opsetid(custom.domain, 1))
    _refuse_unknown(servable.model, model.graph, custom)
    return model


@contextlib.contextmanager
def _convertible_sign() -> Iterator[None]:
    """Keras' argmax and argmin tell -0.0 from 0.0 by its bits, which ONNX cannot look at; the sign of an inverse says
    the same.
    """
    original = getattr(keras_numpy, "signbit", None)
    if original is None:  # an older Keras
        yield
        return

    def signbit(x: Any) -> Any:
        x = tf.convert_to_tensor(x)
        return tf.where(tf.equal(x, 0), 1 / x, x) < 0 if x.dtype.is_floating else original(x)

    keras_numpy.signbit = signbit
    try:
        yield
    finally:
        keras_numpy.signbit = original


def _let_compiled_functions_be_inlined(graph: Any) -> None:
    """Keras compiles convolutions in groups with XLA, for the sake of CPUs; tf2onnx cannot look into a call."""
    for operation in graph.get_operations():
        if "PartitionedCall" in operation.type and "_XlaMustCompile" in operation.node_def.attr:
            operation._clear_attr("_XlaMustCompile")


def _refuse_too_large(model: Any, taken: onnx_weights.Lifted) -> None:
    size = weights.bytes_of(model) - sum(map(onnx_weights.bytes_of, taken.weights.values()))
    if size > _MAX_BYTES:
        raise ExportError(
            f"it has {size / 2**30:.1f} GiB in weights of less than {onnx_weights.LARGE_WEIGHT // 1024} KiB each, and "
            "an ONNX file holds 1 GiB of such"
        )


def _refuse_bfloat16(model: Any) -> None:
    for layer in model._flatten_layers(include_self=False):
        if layer.compute_dtype == "bfloat16" and layer.variables:
            raise ExportError(
                f"{_named(layer)} computes in bfloat16, which ONNX Runtime cannot do on a CPU; the SavedModel can"
            )


def _refuse_text_and_tables(model: Any, graph: Any) -> None:
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    for node in nodes:
        is_text = any(tf.string.as_datatype_enum in _types(value) for value in node.attr.values())
        is_table = "LookupTable" in node.op
        if node.op not in _DATA_ONLY and (is_text or is_table):
            reason = "works on text" if is_text else "looks values up in a table"
            raise ExportError(
                f"{_layer(model, node.name)} {reason} ({node.op}), which ONNX Runtime cannot do; the SavedModel can"
            )


def _types(value: Any) -> tuple[int, ...]:
    return (value.type, *value.list.type)


def _refuse_unknown(model: Any, graph: Any, custom: Custom | None) -> None:
    """tf2onnx leaves in the graph what it has no equivalent for."""
    for node in _nodes(graph):
        if custom is not None and node.domain == custom.domain and node.op_type in custom.operations:
            continue
        if not onnx.defs.has(node.op_type, node.domain):
            raise ExportError(f"{_layer(model, node.name)} computes {node.op_type}, which ONNX does not have")


def _nodes(graph: Any) -> Iterator[Any]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _nodes(attribute.g)


def _layer(model: Any, path: str) -> str:
    """The layer that a node of the graph belongs to: the innermost one that its path names."""
    layers = {layer.name: layer for layer in model._flatten_layers(include_self=False)}
    for part in reversed(path.split("/")):
        # TensorFlow numbers a name that it meets again.
        layer = layers.get(part) or layers.get(re.sub(r"_\d+$", "", part))
        if layer is not None:
            return _named(layer)
    return f"the model ({path})"


def _named(layer: Any) -> str:
    return f"layer {layer.name!r} ({type(layer).__name__})"
