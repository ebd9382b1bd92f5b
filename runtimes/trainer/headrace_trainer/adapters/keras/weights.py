"""The fingerprint of a model's weights, and what models that are built alike have in common.

A sample of each variable is enough: a step of training, an average or a restored epoch changes all of them. It is small
enough for each epoch's end.
"""

from __future__ import annotations

import zlib
from collections.abc import Hashable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

_SAMPLED = 256  # elements of a variable


def print_of(model: Any) -> str:
    """The same for the same weights in a model of the same layers, in each process."""
    digest = zlib.crc32(repr(kind_of(model)).encode())
    for variable in _weights(model):
        flat = tf.reshape(tf.convert_to_tensor(variable), [-1])
        size = int(flat.shape[0])
        sample = flat[:: max(1, size // _SAMPLED)]
        digest = zlib.crc32(np.ascontiguousarray(sample.numpy()).tobytes(), digest)
    return f"{digest:08x}"


def bytes_of(model: Any) -> int:
    """The size of the model's variables, without the optimizer's."""
    return sum(int(variable.value.dtype.size) * int(tf.size(variable.value)) for variable in model.variables)


def kind_of(model: Any) -> Hashable:
    """The classes of a model's layers and the shapes of its weights."""
    layers = tuple(type(layer).__name__ for layer in model._flatten_layers())
    return layers, tuple(tuple(variable.shape) for variable in _weights(model))


def _weights(model: Any) -> list[Any]:
    """Without what a stateful layer keeps between two calls."""
    states = {
        id(state)
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.RNN)
        for state in keras.tree.flatten(getattr(layer, "states", None) or [])
    }
    return [variable for variable in model.weights if id(variable) not in states]
