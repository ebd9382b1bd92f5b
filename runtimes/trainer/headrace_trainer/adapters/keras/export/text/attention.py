"""What of Keras' own layers is replaced while a decoder is traced with a cache: attention, after its projections, and
the look-up of positions. All else of the model's own Python runs as it is.

Whether that was all that looks at other positions is not argued here, but measured (verify.py).
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from keras import layers

_KINDS = (layers.MultiHeadAttention, layers.GroupQueryAttention)


class Replacement(Protocol):
    """What is computed in place of Keras' layers."""

    def attend(self, layer: Any, query: Any, key: Any, value: Any, original: Callable[[], Any]) -> Any:
        """From (batch, tokens, heads, size) to the same; `original` is what Keras computes."""

    def positions(self, given: Any, length: int) -> Any:
        """Those to look up, in place of the `given` ones, in a table of `length`."""


@contextlib.contextmanager
def replaced(by: Replacement) -> Iterator[None]:
    """In this thread only: another one of the script's may be computing."""
    here = threading.get_ident()
    patches = [(kind, "_compute_attention", _attention(kind._compute_attention, by, here)) for kind in _KINDS]
    patches.append((layers.Embedding, "call", _embedding(layers.Embedding.call, by, here)))
    hub = sys.modules.get("keras_hub")
    if hub is not None:
        kind = hub.layers.PositionEmbedding
        patches.append((kind, "call", _position_embedding(kind.call, by, here)))
    originals = [(owner, name, getattr(owner, name)) for owner, name, _ in patches]
    for owner, name, function in patches:
        setattr(owner, name, function)
    try:
        yield
    finally:
        for owner, name, function in originals:
            setattr(owner, name, function)


def _attention(original: Any, by: Replacement, here: int) -> Any:
    def attend(self: Any, query: Any, key: Any, value: Any, *args: Any, **kwargs: Any) -> Any:
        if threading.get_ident() != here:
            return original(self, query, key, value, *args, **kwargs)
        return by.attend(self, query, key, value, lambda: original(self, query, key, value, *args, **kwargs)[0]), None

    return attend


def _embedding(original: Any, by: Replacement, here: int) -> Any:
    def call(self: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        # Without a dimension of the batch, or with one of 1: positions, and no tokens, whose batch has any size.
        is_positions = len(inputs.shape) < 2 or inputs.shape[0] == 1
        if is_positions and threading.get_ident() == here:
            inputs = by.positions(inputs, self.input_dim)
        return original(self, inputs, *args, **kwargs)

    return call


def _position_embedding(original: Any, by: Replacement, here: int) -> Any:
    """KerasHub's: it adds nothing, and gives the positions' rows, by the input's shape."""

    def call(self: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        if threading.get_ident() == here:
            kwargs["positions"] = by.positions(kwargs.get("positions"), self.sequence_length)
        return original(self, inputs, *args, **kwargs)

    return call
