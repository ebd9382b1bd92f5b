"""Which layer is the first that computes something else in a step by itself than in the whole text: where what looks at
other positions is not a layer of Keras', and so not replaced.

Both are computed by TensorFlow, with the past in plain arrays: what is compared is the model's Python, and no graph.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from headrace_trainer.adapters.keras.export.servable import Array
from headrace_trainer.adapters.keras.export.text.attention import replaced
from headrace_trainer.adapters.keras.export.text.decoder import Decoder, run
from headrace_trainer.adapters.keras.export.text.layers import Found

_TOKENS = 12
_TOLERANCE = 1e-3  # of the largest value


def first_difference(decoder: Decoder, found: Found, context: int) -> str:
    """In words that follow a reason; empty where none is found."""
    length = min(context, decoder.length or context, _TOKENS)
    tokens = decoder.texts(1, length)
    try:
        whole = _recorded(decoder, _Whole(), tokens)
        read = _recorded(decoder, _Whole(), tokens[:, :-1])
        step = _recorded(decoder, _Next(found, read.past, length - 1), tokens[:, -1:])
    except Exception:  # noqa: BLE001 - it is for the message alone, and the script's layers raise whatever they meet
        return ""
    pairs = zip(whole.layers, step.layers, strict=False)
    for (name, given, computed), (_, given_now, computed_now) in pairs:
        if _differ(given, given_now):
            return (
                f"; the first layer that differs is {name}, by what goes in: positions, or a mask, that the model "
                "computes by hand"
            )
        if _differ(computed, computed_now):
            return f"; the first layer that differs is {name}"
    return ""


@dataclass
class _Recorded:
    """`layers` has, in the order in which they ended, each one's name, and the last position of what went in and of
    what came out, empty where that is no row of each token. `past` has keys and values of each attention layer.
    """

    layers: list[tuple[str, Any, Any]] = field(default_factory=list)
    past: list[tuple[Any, Any]] = field(default_factory=list)


def _recorded(decoder: Decoder, by: _Whole | _Next, tokens: Array) -> _Recorded:
    names: list[str] = []

    def call(ids: Any) -> Any:
        record = _Recorded()
        by.record = record
        with _recording(record, by), replaced(by):
            decoder.call(ids)
        names[:] = [name for name, _, _ in record.layers]
        return [(given, computed) for _, given, computed in record.layers], record.past

    values, past = run(call, tokens)
    return _Recorded([(name, *pair) for name, pair in zip(names, values, strict=True)], past)


@contextlib.contextmanager
def _recording(record: _Recorded, by: _Whole | _Next) -> Iterator[None]:
    original = keras.Layer.__call__
    here = threading.get_ident()

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        computed = original(self, *args, **kwargs)
        if threading.get_ident() == here and not by.is_inside:
            record.layers.append((f"{self.path!r} ({type(self).__name__})", _last(args[:1]), _last(computed)))
        return computed

    keras.Layer.__call__ = call
    try:
        yield
    finally:
        keras.Layer.__call__ = original


def _last(values: Any) -> Any:
    """Of numbers with a row for each token; of all else nothing."""
    flat = tf.nest.flatten(values)
    first: Any = flat[0] if flat else None
    is_rows = isinstance(first, tf.Tensor) and first.dtype.is_floating and (first.shape.rank or 0) > 2
    return tf.cast(first[:, -1], tf.float32) if is_rows else tf.zeros([0])


def _differ(one: Array, other: Array) -> bool:
    if one.shape != other.shape or not one.size:
        return False
    largest = np.max(np.abs(one[np.isfinite(one)]), initial=_TOLERANCE)
    return not np.allclose(other, one, rtol=0, atol=_TOLERANCE * largest, equal_nan=True)


class _Whole:
    """A `Replacement` that replaces nothing, and keeps what attention sees."""

    def __init__(self) -> None:
        self.record = _Recorded()
        self.is_inside = False  # in attention, which has layers that the replaced one does without

    def attend(self, layer: Any, query: Any, key: Any, value: Any, original: Callable[[], Any]) -> Any:
        self.record.past.append((key, value))
        self.is_inside = True
        try:
            return original()
        finally:
            self.is_inside = False

    def positions(self, given: Any, length: int) -> Any:
        return given


class _Next:
    """A `Replacement` for one token behind a past."""

    def __init__(self, found: Found, past: list[tuple[Any, Any]], position: int) -> None:
        self.record = _Recorded()
        self.is_inside = False
        self._found = found
        self._past = past
        self._position = position

    def attend(self, layer: Any, query: Any, key: Any, value: Any, original: Callable[[], Any]) -> Any:
        number = len(self.record.past)
        about, past = self._found.attention[number], self._past[number]
        self.record.past.append((key, value))
        keys, values = (
            tf.repeat(tf.concat([before, now], 1), about.heads // about.key_heads, axis=2)
            for before, now in zip(past, (key, value), strict=True)
        )
        weights = tf.nn.softmax(tf.einsum("bqnh,bknh->bnqk", query, keys) * about.scale)
        return tf.einsum("bnqk,bknh->bqnh", weights, values)

    def positions(self, given: Any, length: int) -> Any:
        return tf.fill([1, 1], self._position)
