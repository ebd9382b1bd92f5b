"""Whether a graph with a cache computes what the unchanged model does: measured each time, and not argued.

Two texts of different length are read at once, the longer one nearly as long as a text may be; then tokens follow one
by one. All logits are compared.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from headrace_trainer.adapters.keras.export.servable import Array
from headrace_trainer.adapters.keras.export.text.cached import IDS, LOGITS, MASK, POSITIONS, PRESENT_KEY, PRESENT_VALUE
from headrace_trainer.adapters.keras.export.text.decoder import Decoder
from headrace_trainer.adapters.keras.export.text.layers import Found

STEPS = 6
TOLERANCE = 1e-3  # of the logits' scale
_SMALLEST_SCALE = 1e-3
_MOST_LOGITS = 2**26  # that are compared: 256 MiB


def texts_of(decoder: Decoder, context: int) -> Array:
    """Two, as long as they may be, and as memory allows."""
    length = max(2, min(context, _MOST_LOGITS // (2 * decoder.vocabulary)))
    return decoder.texts(2, length)


def prompts_of(length: int) -> tuple[int, int]:
    """Of a text of so many tokens: how many are read at once, of the longer and of the shorter row."""
    longer = max(1, length - STEPS)
    return longer, max(1, longer // 2)


def difference(decoder: Decoder, found: Found, engine: Any, context: int) -> float:
    """The largest one of all logits, as a share of their scale (their root mean square); infinite where one of them is
    no number. `engine` runs the graph, in ONNX Runtime.
    """
    tokens = texts_of(decoder, context)
    expected = decoder.compute(tokens) if decoder.length is None else _of_length(decoder, tokens)
    lengths = np.array(prompts_of(tokens.shape[1]))
    names = {value.name for value in engine.get_inputs()}
    cache = {
        name: np.zeros((2, layer.key_heads, tokens.shape[1], layer.size), "float32")
        for number, layer in enumerate(found.attention)
        for name in (PRESENT_KEY % number, PRESENT_VALUE % number)
    }

    def logits(ids: Array, lengths: Array) -> Array:
        """Behind the past, of which there is what `lengths` have more than `ids`."""
        count = ids.shape[1]
        given = {
            IDS: ids.astype("int64"),
            MASK: (np.arange(lengths.max())[None] < lengths[:, None]).astype("int64"),
            POSITIONS: (np.arange(count)[None] + (lengths[:, None] - count if count == 1 else 0)).astype("int64"),
            **{name.replace("present", "past_key_values"): values for name, values in cache.items()},
        }
        given[POSITIONS] = np.broadcast_to(given[POSITIONS], ids.shape)
        wanted = [LOGITS, *cache]
        computed = dict(zip(wanted, engine.run(wanted, {k: v for k, v in given.items() if k in names}), strict=True))
        result: Array = computed.pop(LOGITS)
        cache.update(computed)
        return result

    read = logits(tokens[:, : lengths.max()], lengths)
    apart = [np.max(np.abs(read[row, :end] - expected[row, :end])) for row, end in enumerate(lengths)]
    rows = np.arange(2)
    for _ in range(min(STEPS, tokens.shape[1] - int(lengths.max()))):
        lengths = lengths + 1
        stepped = logits(tokens[rows, lengths - 1][:, None], lengths)
        apart.append(np.max(np.abs(stepped[:, 0] - expected[rows, lengths - 1])))
    # Of numpy: Python's max passes over what is no number.
    largest = float(np.max(apart))
    scale = float(np.maximum(np.sqrt(np.mean(np.square(expected, dtype="float64"))), _SMALLEST_SCALE))
    return largest / scale if np.isfinite(largest) and np.isfinite(scale) else float("inf")


def _of_length(decoder: Decoder, tokens: Array) -> Array:
    """Of a model that takes one length: what stands behind a text is seen by none of its tokens."""
    assert decoder.length is not None
    filled = np.pad(tokens, ((0, 0), (0, decoder.length - tokens.shape[1])), constant_values=decoder.first_token)
    return np.asarray(decoder.compute(filled))[:, : tokens.shape[1]]
