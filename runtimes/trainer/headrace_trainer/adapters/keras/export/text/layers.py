"""What a decoder has that looks at other positions, as far as Keras' own layers do: attention, tables of positions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import tensorflow as tf

from headrace_trainer.adapters.keras.export.text.attention import replaced
from headrace_trainer.adapters.keras.export.text.decoder import Decoder

_MOST_WORDS = 160
_NO_ATTENTION = (
    "it has no attention layer of Keras' own (MultiHeadAttention, GroupQueryAttention), and attention written by hand "
    "keeps nothing"
)


@dataclass(frozen=True)
class Attention:
    """One layer: how many heads its queries and its keys have, and of which size."""

    name: str
    heads: int
    key_heads: int
    size: int
    scale: float


@dataclass(frozen=True)
class Found:
    """The attention layers in the order of their calls; the length of the shortest table of positions, None where there
    is none; and why there can be no cache, empty where there may be one.
    """

    attention: tuple[Attention, ...]
    positions: int | None
    problem: str


def look(decoder: Decoder) -> Found:
    """By a trace of the model, with texts of any length, and where it does not take these of its own."""
    looking, problem = _trace(decoder, None)
    if problem and decoder.length is not None:
        looking, _ = _trace(decoder, decoder.length)
        problem = f"it takes texts of {decoder.length} tokens only"
    problem = problem or looking.problem or ("" if looking.attention else _NO_ATTENTION)
    return Found(tuple(looking.attention), min(looking.tables, default=None), problem)


def _trace(decoder: Decoder, length: int | None) -> tuple[_Looking, str]:
    looking = _Looking()
    try:
        with replaced(looking):
            tf.function(decoder.call, autograph=False).get_concrete_function(tf.TensorSpec([None, length], tf.int32))
    except Exception as error:  # noqa: BLE001 - whatever the script's layers raise
        return looking, f"it does not take texts of any length: {' '.join(str(error).split())[:_MOST_WORDS]}"
    return looking, ""


@dataclass
class _Looking:
    """A `Replacement` that replaces nothing."""

    attention: list[Attention] = field(default_factory=list)
    tables: list[int] = field(default_factory=list)
    problem: str = ""

    def attend(self, layer: Any, query: Any, key: Any, value: Any, original: Callable[[], Any]) -> Any:
        if len(query.shape) != 4 or value.shape[-1] != key.shape[-1]:
            self.problem = f"the keys and values of layer {layer.name!r} are not of one size, or it has several axes"
        elif getattr(layer, "_sliding_window", None) or getattr(layer, "sliding_window", None):
            self.problem = f"layer {layer.name!r} looks back a window of its own (sliding_window)"
        else:
            scale = getattr(layer, "_inverse_sqrt_key_dim", None) or layer._inverse_sqrt_head_dim
            described = Attention(layer.name, query.shape[2], key.shape[2], key.shape[3], float(scale))
            self.attention.append(described)
        return original()

    def positions(self, given: Any, length: int) -> Any:
        self.tables.append(length)
        return given
