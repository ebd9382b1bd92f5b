"""The fingerprint of a model's weights, and what models that are built alike have in common.

A sample of each variable is enough: a step of training, an average or a restored epoch changes all of them. It is small
enough for each epoch's end.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Hashable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

_SAMPLED = 256  # elements of a variable
_BUILT = "_headrace_built"  # of a variable: the fingerprint of what it was built with


def print_of(model: Any) -> str:
    """The same for the same weights in a model of the same layers, in each process."""
    digest = zlib.crc32(repr(kind_of(model)).encode())
    for variable in _weights(model):
        digest = zlib.crc32(_sample(variable), digest)
    return f"{digest:08x}"


def follow_building() -> None:
    """From here on, a variable that is to be trained knows what it was built with, where that says nothing: numbers
    drawn by chance, zeros, ones. An array that the script gives as the first value may be a trained one.
    """
    original = keras.Variable._initialize_with_initializer

    @functools.wraps(original)
    def initialize_with_initializer(self: Any, initializer: Any) -> None:
        original(self, initializer)
        if self.trainable and tf.executing_eagerly() and _says_nothing(initializer):
            setattr(self, _BUILT, zlib.crc32(_sample(self)))

    keras.Variable._initialize_with_initializer = initialize_with_initializer


def are_as_built(model: Any) -> bool:
    """Whether the model has weights to train, and all of them are those that it was built with: whichever way others
    come into it (a training, a file, an assignment, a layer of another model), they are seen in the values.
    """
    variables = [variable for layer in model._flatten_layers() for variable in layer._trainable_variables]
    return bool(variables) and all(
        getattr(variable, _BUILT, None) == zlib.crc32(_sample(variable)) for variable in variables
    )


def _says_nothing(initializer: Any) -> bool:
    if isinstance(initializer, keras.initializers.Constant):
        return np.ndim(initializer.value) == 0
    return isinstance(initializer, keras.initializers.Initializer)


def _sample(variable: Any) -> bytes:
    flat = tf.reshape(tf.convert_to_tensor(variable), [-1])
    size = int(flat.shape[0])
    sample = flat[:: max(1, size // _SAMPLED)]
    return np.ascontiguousarray(sample.numpy()).tobytes()


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
