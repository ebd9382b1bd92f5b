"""A graph with a KV cache of fixed size: attention reads it and writes behind what is there, in the same memory.

That is GroupQueryAttention of ONNX Runtime (past_present_share_buffer of onnxruntime-genai). Each text has its own
length, and a row of each layer's buffers as its slot.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from headrace_onnxruntime.engine import in_one_line
from headrace_serving.failures import Reason, StartError
from headrace_text.decoder import Array, DecoderError, Text, behind_last
from headrace_text.folder import CONFIG_FILE, Config
from headrace_text.session import Session, named


class CachedDecoder:
    """A `Decoder`. Its memory is reserved at once, and taken by the kernel as texts grow."""

    def __init__(self, session: Session, config: Config, slots: int, context: int) -> None:
        assert config.cache is not None
        self.slots = slots
        self.context = context
        self._engine = session.engine
        self._config = config
        self._type = session.whole(config.input_ids)
        pairs = (
            (config.cache.past_key, config.cache.present_key),
            (config.cache.past_value, config.cache.present_value),
        )
        self._buffers: list[tuple[str, str, Array]] = [
            (past, present, np.zeros((slots, *_row(session, past, context)), session.floating(past)))
            for before, after in pairs
            for past, present in zip(named(before, config), named(after, config), strict=True)
        ]
        self._types = {
            name: session.whole(name) for name in (config.attention_mask, config.position_ids) if name is not None
        }
        # The buffers never move: they are bound once for each range of slots.
        self._bound: dict[tuple[int, int], Any] = {}

    def read(self, slot: int, text: Text, begin: int, end: int) -> Array | None:
        tokens = np.array([text[begin:end]], self._type)
        logits = self._run(slot, tokens, np.array([end]))
        return logits[0] if end == len(text) else None

    def step(self, texts: Sequence[Text], first: int) -> Array:
        tokens = np.array([[text[-1]] for text in texts], self._type)
        return self._run(first, tokens, np.array([len(text) for text in texts]))

    def move(self, source: int, target: int, length: int) -> None:
        for _, _, buffer in self._buffers:
            buffer[target, :, :length] = buffer[source, :, :length]

    def swap(self, one: int, other: int, length: int) -> None:
        for _, _, buffer in self._buffers:
            buffer[[one, other], :, :length] = buffer[[other, one], :, :length]

    def _run(self, first: int, tokens: Array, lengths: Array) -> Array:
        """Logits (rows, vocabulary) behind the last tokens. `lengths` is that of each text with `tokens` behind it."""
        rows, count = tokens.shape
        config = self._config
        bound = self._binding(first, rows)
        bound.bind_cpu_input(config.input_ids, tokens)
        if config.attention_mask is not None:
            mask = np.arange(lengths.max())[None] < lengths[:, None]
            bound.bind_cpu_input(config.attention_mask, mask.astype(self._types[config.attention_mask]))
        if config.position_ids is not None:
            places = lengths[:, None] - count + np.arange(count)[None]
            bound.bind_cpu_input(config.position_ids, places.astype(self._types[config.position_ids]))
        bound.bind_output(config.logits, "cpu")
        try:
            self._engine.run_with_iobinding(bound)
            logits: Array = bound.get_outputs()[-1].numpy()  # in the order of binding
        except Exception as error:
            raise DecoderError(in_one_line(error)) from error
        finally:
            bound.bind_output(config.logits, "cpu")  # or each binding keeps the logits of its last run
        return behind_last(logits, np.full(rows, count), count)[:, : config.vocabulary]

    def _binding(self, first: int, rows: int) -> Any:
        bound = self._bound.get((first, rows))
        if bound is None:
            bound = self._bound[first, rows] = self._engine.io_binding()
            for past, present, buffer in self._buffers:
                part = buffer[first : first + rows]
                place = ("cpu", 0, part.dtype.type, part.shape, part.ctypes.data)
                bound.bind_input(past, *place)
                bound.bind_output(present, *place)
        return bound


def slot_bytes(session: Session, config: Config, context: int) -> int:
    """What the cache of one text takes, of `context` tokens. Raises StartError."""
    assert config.cache is not None
    return sum(
        int(np.prod(_row(session, name, context))) * np.dtype(session.floating(name)).itemsize
        for pattern in (config.cache.past_key, config.cache.past_value)
        for name in named(pattern, config)
    )


def _row(session: Session, name: str, context: int) -> tuple[int, int, int]:
    """Heads, tokens and the size of a head. Raises StartError."""
    shape = session.shapes[name]
    if len(shape) != 4 or not all(isinstance(size, int) and size > 0 for size in (shape[1], shape[3])):
        raise StartError(
            Reason.MODEL_UNSUPPORTED,
            f"The graph's input {name!r} has the shape {shape}; it has to be (texts, heads, tokens, size of a head), "
            "with heads and their size fixed.",
            f"Export the model with GroupQueryAttention and a cache as {CONFIG_FILE} of onnxruntime-genai has it.",
        )
    return shape[1], context, shape[3]
