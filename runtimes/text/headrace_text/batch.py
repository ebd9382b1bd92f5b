"""The texts that are written together: they join and leave at every step, and prompts are read in pieces in between.

Texts that are written have the slots from 0 on, without gaps, so that one run steps them all. Prompts that are read
have the slots from the other end; who has read its prompt moves to the others, and the last one fills the gap of who
leaves.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass

import numpy as np

from headrace_serving.failures import RequestError
from headrace_text.decoder import Array, Decoder, DecoderError
from headrace_text.generation import Generation, News

log = logging.getLogger("headrace_text")

Told = list[tuple[Generation, News]]


class NonFiniteError(RequestError):
    """The model's logits have a NaN or an infinity: there is no likeliest token."""

    def __init__(self) -> None:
        super().__init__(500, "the model fails: its logits are not finite numbers")


@dataclass(eq=False)
class _Row:
    generation: Generation
    slot: int
    read: int = 0


class Batch:
    """All of it is used in one thread. `piece` is how many tokens of prompts are read between two steps."""

    def __init__(self, decoder: Decoder, end_tokens: frozenset[int], piece: int) -> None:
        self._decoder = decoder
        self._end_tokens = end_tokens
        self._piece = piece
        self._written: list[_Row] = []  # the row in slot i is the i-th
        self._reading: deque[_Row] = deque()
        self._free = set(range(decoder.slots))

    @property
    def has_place(self) -> bool:
        return bool(self._free)

    @property
    def size(self) -> int:
        return len(self._written) + len(self._reading)

    @property
    def slots(self) -> int:
        return self._decoder.slots

    def join(self, generation: Generation) -> None:
        slot = max(self._free)
        self._free.remove(slot)
        self._reading.append(_Row(generation, slot))

    def leave(self) -> None:
        """Lets go of those that were cancelled."""
        for row in [row for row in self._reading if row.generation.is_cancelled]:
            self._reading.remove(row)
            self._free.add(row.slot)
        self._close([row for row in self._written if row.generation.is_cancelled])

    def advance(self) -> Told:
        """Reads pieces of prompts, and gives each text that is written its next token."""
        return [*self._read(), *self._step()]

    def _read(self) -> Told:
        """In turns: a long prompt of somebody else costs a short one a piece, not the whole of it."""
        told: Told = []
        left = self._piece
        while self._reading and left > 0:
            row = self._reading[0]
            tokens = row.generation.tokens
            end = min(len(tokens), row.read + left)
            try:
                logits = self._decoder.read(row.slot, tokens, row.read, end)
            except DecoderError as error:
                self._reading.popleft()
                self._free.add(row.slot)
                told.append(_failed(row, error))
                continue
            left -= end - row.read
            row.read = end
            if logits is None:
                self._reading.rotate(-1)
            else:
                self._reading.popleft()
                self._begin(row)
                told += self._take([row], logits[None])
        return told

    def _begin(self, row: _Row) -> None:
        """Into the slot behind the texts that are written."""
        target = len(self._written)
        if row.slot != target:
            if target in self._free:
                self._decoder.move(row.slot, target, row.read)
                self._free.remove(target)
                self._free.add(row.slot)
            else:
                other = next(other for other in self._reading if other.slot == target)
                if other.read:
                    self._decoder.swap(row.slot, target, max(row.read, other.read))
                else:
                    self._decoder.move(row.slot, target, row.read)
                other.slot = row.slot
            row.slot = target
        self._written.append(row)

    def _step(self) -> Told:
        rows = list(self._written)
        if not rows:
            return []
        try:
            logits = self._decoder.step([row.generation.tokens for row in rows], 0)
        except DecoderError:
            return self._step_alone(rows)
        return self._take(rows, logits)

    def _step_alone(self, rows: list[_Row]) -> Told:
        """Who is to blame is not known: each for itself, so that no other one fails for it."""
        told: Told = []
        failed = []
        answers: list[tuple[_Row, Array]] = []
        for row in rows:
            try:
                answers.append((row, self._decoder.step([row.generation.tokens], row.slot)[0]))
            except DecoderError as error:
                failed.append(row)
                told.append(_failed(row, error))
        if answers:
            told += self._take([row for row, _ in answers], np.stack([logits for _, logits in answers]))
        self._close([row for row in failed if row in self._written])
        return told

    def _take(self, rows: list[_Row], logits: Array) -> Told:
        told: Told = []
        ended = []
        finite = np.isfinite(logits.max(axis=-1))  # a NaN is the largest; -inf is a token that may not come
        for row, scores, is_finite in zip(rows, logits, finite, strict=True):
            generation = row.generation
            if is_finite:
                news = generation.take(scores, self._end_tokens, self._decoder.context)
            else:
                news = generation.fail(NonFiniteError())
            told.append((generation, news))
            if news.end is not None or news.error is not None:
                ended.append(row)
        self._close(ended)
        return told

    def _close(self, rows: list[_Row]) -> None:
        for row in sorted(rows, key=lambda row: row.slot, reverse=True):
            last = self._written.pop()
            self._free.add(last.slot)
            if last is not row:
                # All but its last token, which the next step reads.
                self._decoder.move(last.slot, row.slot, len(last.generation.tokens) - 1)
                self._written[row.slot] = last
                last.slot = row.slot


def _failed(row: _Row, error: DecoderError) -> tuple[Generation, News]:
    log.error("the model fails: %s", error)
    return row.generation, row.generation.fail(RequestError(500, f"the model fails: {error}"))
