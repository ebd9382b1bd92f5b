"""A graph without a cache: it reads the whole text again at each step. Slow, and the answers are the same.

Texts of equal length share a run. Others do not: what stands behind a text's end might count in a graph that looks both
ways. Where the graph takes one length only, texts are filled up to it at their end, as such a model was trained.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from headrace_onnxruntime.engine import in_one_line
from headrace_serving.failures import Reason, StartError
from headrace_text.decoder import Array, DecoderError, Text, behind_last
from headrace_text.folder import Config
from headrace_text.session import Session


class UncachedDecoder:
    """A `Decoder`."""

    def __init__(self, session: Session, config: Config, slots: int, context: int) -> None:
        shape = session.shapes[config.input_ids]
        if len(shape) != 2:
            raise StartError(
                Reason.MODEL_UNSUPPORTED,
                f"The graph's input {config.input_ids!r} has the shape {shape}; it has to be (texts, tokens).",
                "Export the graph with tokens as its input.",
            )
        self._length = shape[1] if isinstance(shape[1], int) else None
        # Some graphs take one text only.
        self._one = isinstance(shape[0], int)
        self.slots = slots
        self.context = min(context, self._length or context)
        self._engine = session.engine
        self._config = config
        names = (config.input_ids, config.attention_mask, config.position_ids)
        self._types = {name: session.whole(name) for name in names if name is not None}

    def read(self, slot: int, text: Text, begin: int, end: int) -> Array | None:
        return self._logits([text])[0] if end == len(text) else None

    def step(self, texts: Sequence[Text], first: int) -> Array:
        groups: dict[int, list[int]] = defaultdict(list)
        for row, text in enumerate(texts):
            groups[row if self._one else self._length or len(text)].append(row)
        logits: dict[int, Array] = {}
        for rows in groups.values():
            logits |= zip(rows, self._logits([texts[row] for row in rows]), strict=True)
        return np.stack([logits[row] for row in range(len(texts))])

    def move(self, source: int, target: int, length: int) -> None:
        """Nothing is kept."""

    def swap(self, one: int, other: int, length: int) -> None:
        """Nothing is kept."""

    def _logits(self, texts: Sequence[Text]) -> Array:
        """Those behind the last token of each."""
        config = self._config
        lengths = np.array([len(text) for text in texts])
        length = self._length or int(lengths.max())
        tokens = np.full((len(texts), length), config.pad_token, self._types[config.input_ids])
        for row, text in zip(tokens, texts, strict=True):
            row[: len(text)] = text
        feed = {config.input_ids: tokens}
        places = np.broadcast_to(np.arange(length), tokens.shape)
        if config.attention_mask is not None:
            feed[config.attention_mask] = (places < lengths[:, None]).astype(self._types[config.attention_mask])
        if config.position_ids is not None:
            feed[config.position_ids] = places.astype(self._types[config.position_ids])
        try:
            [logits] = self._engine.run([config.logits], feed)
        except Exception as error:
            raise DecoderError(in_one_line(error)) from error
        return behind_last(logits, lengths, length)[:, : config.vocabulary]
