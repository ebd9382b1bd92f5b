"""What reads texts and says which token is likely to come next: with a KV cache, or the whole text at each step.

A text has a slot: a number, of which there are as many as texts that are generated at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Text = Sequence[int]


class DecoderError(Exception):
    """The graph cannot compute these texts."""


class LogitsError(DecoderError):
    """The graph's logits do not have a shape that is known."""


def behind_last(logits: Array, lengths: Array, count: int) -> Array:
    """The logits (texts, vocabulary) behind the last token of each text, of a run of `count` tokens a text. `lengths`
    says how many of them are the text's; the rest fills up. The graph gave those of all tokens, or of the last one.
    Raises LogitsError.
    """
    rows = len(lengths)
    if logits.ndim == 3 and logits.shape[:2] == (rows, count):
        last: Array = logits[np.arange(rows), lengths - 1]
        return last
    if logits.shape[:-1] in ((rows,), (rows, 1)) and logits.ndim > 1:
        if (lengths == count).all():
            return logits.reshape(rows, -1)
        raise LogitsError(f"its logits {logits.shape} are of one token only, and texts are filled up behind their end")
    raise LogitsError(f"its logits have the shape {logits.shape} for {rows} texts of {count} tokens")


class Decoder(Protocol):
    """All of it is used in one thread. `context` is the longest text in tokens, prompt and answer."""

    slots: int
    context: int

    def read(self, slot: int, text: Text, begin: int, end: int) -> Array | None:
        """Takes the tokens from `begin` to `end` of a text into its slot, which has those before. The logits of what
        follows where `end` is the text's. Raises DecoderError.
        """

    def step(self, texts: Sequence[Text], first: int) -> Array:
        """The logits (texts, vocabulary) of what follows texts in the slots from `first` on, which have all tokens but
        for the last of each. Raises DecoderError.
        """

    def move(self, source: int, target: int, length: int) -> None:
        """The first tokens of a slot, so many, to another one."""

    def swap(self, one: int, other: int, length: int) -> None:
        """The first tokens of two slots, so many."""
