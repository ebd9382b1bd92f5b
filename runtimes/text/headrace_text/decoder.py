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

    def swap(self, one: int, other: int) -> None:
        """What two slots have."""
