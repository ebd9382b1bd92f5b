"""What is tried with a decoder before the server says that it is ready.

Does it answer at all? And is a text the same whether it is read at once, in pieces or token by token, alone or beside
others? A graph whose mask or positions are computed in another way than its config says would answer, and wrongly.
"""

from __future__ import annotations

import numpy as np

from headrace_serving.failures import Reason, StartError
from headrace_text.decoder import Array, Decoder, DecoderError, LogitsError
from headrace_text.folder import Config

# Of logits, against the largest of them.
TOLERANCE = {np.dtype(np.float16): 3e-2, np.dtype(np.float32): 1e-3}
_LONG, _SHORT = 6, 3


def warm_up(decoder: Decoder, config: Config) -> None:
    """Raises StartError."""
    long = [place % config.vocabulary for place in range(1, 1 + min(_LONG, decoder.context))]
    short = long[-_SHORT:]
    try:
        whole = _read(decoder, 0, long, len(long))
        _require_vocabulary(whole, config)
        _require_finite(whole)
        pieces = [_read(decoder, 0, long, 2), _stepped(decoder, long)]
        if decoder.slots > 1:
            alone = _read(decoder, 1, short, len(short))
            _read(decoder, 0, long[:-1], len(long))
            _read(decoder, 1, short[:-1], len(short))
            together = decoder.step([long, short], 0)
            pieces += [together[0]]
            _require_equal(alone, together[1], "beside another one")
    except LogitsError as error:
        raise StartError(
            Reason.MODEL_UNSUPPORTED,
            f"The graph cannot be served: {error}.",
            "Export it with logits (texts, tokens, vocabulary) of all tokens; where texts may have any length, those "
            "of the last token are enough.",
        ) from error
    except DecoderError as error:
        raise StartError(Reason.MODEL_FAILS, f"The model computes nothing: {error}", _hint(config)) from error
    for other in pieces:
        _require_equal(whole, other, "in pieces, token by token, or beside another one")


def _read(decoder: Decoder, slot: int, text: list[int], piece: int) -> Array:
    logits = None
    for begin in range(0, len(text), piece):
        logits = decoder.read(slot, text, begin, min(begin + piece, len(text)))
    assert logits is not None
    return logits


def _stepped(decoder: Decoder, text: list[int]) -> Array:
    _read(decoder, 0, text[:1], 1)
    logits = None
    for end in range(2, len(text) + 1):
        logits = decoder.step([text[:end]], 0)
    return logits[0] if logits is not None else _read(decoder, 0, text, 1)


def _require_vocabulary(logits: Array, config: Config) -> None:
    if logits.ndim != 1 or len(logits) < config.vocabulary:
        raise StartError(
            Reason.SIGNATURE_MISMATCH,
            f"The graph's logits have the shape {logits.shape} for each token; vocab_size is {config.vocabulary}.",
            "Export graph and genai_config.json together.",
        )


def _require_finite(logits: Array) -> None:
    if not np.isfinite(logits.max()):  # a NaN is the largest; -inf is a token that may not come
        raise StartError(
            Reason.MODEL_FAILS,
            "The model's logits are not finite numbers: there is no likeliest token.",
            "Look at the losses of its training; where they are finite, export it in a wider type (float32).",
        )


def _require_equal(one: Array, other: Array, how: str) -> None:
    scale = float(np.abs(one[np.isfinite(one)]).max())
    if not np.allclose(one, other, rtol=0, atol=TOLERANCE.get(one.dtype, 1e-3) * scale, equal_nan=True):
        raise StartError(
            Reason.MODEL_UNSUPPORTED,
            f"The model gives other logits for a text that is read {how}: off by "
            f"{float(np.abs(one - other).max()):.3g}, where the largest is {scale:.3g}.",
            "Its cache, mask or positions are not those that genai_config.json says: export graph and config together.",
        )


def _hint(config: Config) -> str:
    if config.cache is None:
        return "Run it with ONNX Runtime where it was exported: it loads, and cannot compute."
    return (
        "Its cache has to be of fixed size, with past and present in the same memory (GroupQueryAttention; "
        "past_present_share_buffer of onnxruntime-genai)."
    )
