"""A model's inputs as it is served: their names, types and shapes, and how the model wants them packed.

A type belongs to a name: what was fed under a name says which type a request has.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from headrace_trainer.adapters import signature as signatures
from headrace_trainer.adapters.signature import Tensor

_UNNAMED = re.compile(r"input_layer(_\d+)?")


class NoInputs(RuntimeError):
    """It is not known what the model takes."""


@dataclass(frozen=True)
class Inputs:
    """`rows` are of the training data, one array an input, or None; `structure` packs a flat list of tensors.
    `is_declared` says that the script has written the shapes down, so that they are not to be made more general.
    """

    tensors: tuple[Tensor, ...]
    structure: Any
    rows: tuple[np.ndarray[Any, Any], ...] | None
    is_declared: bool

    def with_free_lengths(self) -> Inputs:
        """The same, where token numbers without a declared length have any."""
        if self.is_declared:
            return self
        return Inputs(tuple(map(_with_free_length, self.tensors)), self.structure, self.rows, self.is_declared)


def inputs_of(model: Any, element_spec: Any, rows: Any) -> Inputs:
    """`element_spec` is that of the data (x, y, weights), None where it is not known; `rows` are packed like x."""
    data = _data_of(element_spec)
    layer = _first_batch_layer(model)
    if getattr(model, "inputs", None) and (layer is None or data is None):
        return _declared(model, data, rows, free_batch=layer is not None)
    if data is None:
        raise NoInputs("the model declares no inputs: give it a keras.Input")
    batch = layer.batch_shape[0] if layer is not None and _keeps_state(model) else None
    paths, specs = zip(*keras.tree.flatten_with_path(data), strict=True)
    names = signatures.input_names([path[-1] if path and isinstance(path[-1], str) else "input" for path in paths])
    tensors = tuple(
        Tensor(name, spec.dtype.name, (batch, *spec.shape[1:])) for name, spec in zip(names, specs, strict=True)
    )
    return Inputs(tensors, data, _fitting(tensors, keras.tree.flatten(rows)), is_declared=False)


def _declared(model: Any, data: Any, rows: Any, *, free_batch: bool) -> Inputs:
    declared = model.inputs
    names = signatures.input_names([tensor.name for tensor in declared])
    tensors = tuple(
        Tensor(name, _dtype(tensor.dtype, fed), (None if free_batch else tensor.shape[0], *tensor.shape[1:]))
        for name, tensor, fed in zip(names, declared, _by_input(model, data), strict=True)
    )
    structure = getattr(model, "_inputs_struct", None)
    packed = structure if structure is not None else declared[0]
    return Inputs(tensors, packed, _fitting(tensors, _by_input(model, rows)), is_declared=True)


def _by_input(model: Any, packed: Any) -> list[Any]:
    """What was fed to each of the declared inputs, as Keras hands it out: by name where it is a dict, else in order;
    None where that is not known.
    """
    structure = getattr(model, "_inputs_struct", None)
    if isinstance(packed, dict):
        keys = sorted(structure) if isinstance(structure, dict) else [tensor.name for tensor in model.inputs]
        if len(keys) == len(model.inputs):
            return [None if isinstance(packed.get(key), dict) else packed.get(key) for key in keys]
    flat = keras.tree.flatten(packed) if packed is not None else []
    return flat if len(flat) == len(model.inputs) else [None] * len(model.inputs)


def _fitting(tensors: tuple[Tensor, ...], rows: list[Any]) -> tuple[np.ndarray[Any, Any], ...] | None:
    """The rows with the inputs' types, ranks and batch; None where one is missing or does not fit."""
    if len(rows) != len(tensors) or any(row is None for row in rows):
        return None
    fitted = []
    for tensor, row in zip(tensors, rows, strict=True):
        values = row if tensor.dtype == "string" else row.astype(tensor.dtype)
        # Keras as well takes and gives a last dimension of 1.
        if values.ndim == len(tensor.shape) - 1 and tensor.shape[-1] == 1:
            values = values[..., None]
        elif values.ndim == len(tensor.shape) + 1 and values.shape[-1] == 1:
            values = values[..., 0]
        sizes = zip(tensor.shape[1:], values.shape[1:], strict=False)
        if values.ndim != len(tensor.shape) or any(size not in (None, given) for size, given in sizes):
            return None
        batch = tensor.shape[0]
        fitted.append(values if batch is None else np.resize(values, (batch, *values.shape[1:])))
    return tuple(fitted) if len({len(values) for values in fitted}) == 1 else None


def _dtype(declared: str, fed: Any) -> str:
    """Input(...) without a dtype says float32, also where the data is token numbers."""
    return str(fed.dtype.name) if fed is not None and declared == "float32" and fed.dtype.is_integer else declared


def _data_of(element_spec: Any) -> Any:
    """x of a dataset's (x, y, weights); a worker's part of a distributed batch stands for the whole."""
    if element_spec is None:
        return None
    x = element_spec[0] if isinstance(element_spec, tuple) else element_spec
    return keras.tree.map_structure(lambda spec: getattr(spec, "_value_specs", (spec,))[0], x)


def _first_batch_layer(model: Any) -> Any:
    """The input layer that a Sequential has of its first batch, whose size it then carries; None where it has none.

    A layer without a name that the script has given a batch looks the same.
    """
    if not isinstance(model, keras.Sequential) or not model._layers:
        return None
    first = model._layers[0]
    is_input = isinstance(first, keras.layers.InputLayer)
    return first if is_input and first.batch_shape[0] is not None and _UNNAMED.fullmatch(first.name) else None


def _keeps_state(model: Any) -> bool:
    """A stateful layer has to be told the batch, so it is one that the script means."""
    return any(isinstance(layer, keras.layers.RNN) and layer.stateful for layer in model._flatten_layers())


def _with_free_length(tensor: Tensor) -> Tensor:
    is_tokens = len(tensor.shape) == 2 and tf.as_dtype(tensor.dtype).is_integer
    return Tensor(tensor.name, tensor.dtype, (tensor.shape[0], None)) if is_tokens else tensor
