"""A model as a decoder: tokens in, the logits of the next token at each position out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from headrace_trainer.adapters.keras.export.servable import Array, ExportError, Servable
from headrace_trainer.adapters.keras.export.untouched import variables_put_back

_IS_ONE = 1e-3  # how far from 1 the sum of float16's probabilities may be
_SMALLEST = 1e-37  # of float32's normal numbers; the logarithm of 0 would be no number
_TOKENS = (2, 8)  # rows and tokens that are tried
_WHAT = (
    "Text is made of a model from whole numbers (batch, length) to logits or probabilities (batch, length, vocabulary)"
)


@dataclass(frozen=True)
class Decoder:
    """`call` takes tokens of int32 (batch, length), also a length that the model was not declared with. `length` is the
    one that it takes, None for any; `seen` that of the data that it was trained on, None where it is not known.
    """

    made: Servable
    call: Callable[[Any], Any]
    vocabulary: int
    length: int | None
    seen: int | None

    @property
    def first_token(self) -> int:
        """Of those that a text may have: where 0 stands for nothing (`mask_zero`), it is none of them."""
        return 1 if any(getattr(layer, "mask_zero", False) for layer in self.made.model._flatten_layers()) else 0

    def texts(self, rows: int, length: int) -> Array:
        """Made-up texts, the same for the same sizes: (rows, length)."""
        return np.random.default_rng(0).integers(self.first_token, self.vocabulary, (rows, length)).astype("int32")

    def compute(self, tokens: Array) -> Array:
        """What Keras itself computes. Raises what the model raises."""
        return np.asarray(run(self.call, tokens))


def decoder_of(made: Servable) -> Decoder:
    """Raises ExportError for a model that is none."""
    inputs, outputs = made.signature.inputs, made.signature.outputs
    is_decoder = (
        len(inputs) == len(outputs) == 1
        and len(inputs[0].shape) == 2
        and tf.as_dtype(inputs[0].dtype).is_integer
        and len(outputs[0].shape) == 3
        and outputs[0].shape[-1] is not None
        and tf.as_dtype(outputs[0].dtype).is_floating
    )
    if not is_decoder:
        shown = ", ".join(f"{t.name} {t.dtype} {list(t.shape)}" for t in (*inputs, *outputs))
        raise ExportError(f"{_WHAT}; this one has {shown.replace('None', '?')}")
    [spec] = made.specs
    size = outputs[0].shape[-1]
    assert size is not None

    def answers(tokens: Any) -> Any:
        [answer] = made.serve(tf.cast(tokens, spec.dtype)).values()
        return tf.cast(answer, tf.float32)

    def logits(tokens: Any) -> Any:
        return tf.math.log(tf.maximum(answers(tokens), _SMALLEST))

    length = spec.shape[1]
    seen = made.rows[0].shape[1] if made.rows is not None else None
    decoder = Decoder(made, answers, int(size), length, seen)
    rows, tokens = _TOKENS
    tried = decoder.compute(decoder.texts(rows, length or min(tokens, seen or tokens)))
    is_probability = bool(np.all(tried >= 0)) and bool(np.all(np.abs(tried.sum(-1) - 1) < _IS_ONE))
    return Decoder(made, logits, int(size), length, seen) if is_probability else decoder


def run(call: Callable[[Any], Any], tokens: Array) -> Any:
    """As a traced function, and what it has written to is put back: this may be the middle of a training."""
    traced = tf.function(call, autograph=False).get_concrete_function(tf.TensorSpec([None, tokens.shape[1]], tf.int32))
    with variables_put_back(traced):
        return tf.nest.map_structure(lambda value: value.numpy(), traced(tf.constant(tokens)))
