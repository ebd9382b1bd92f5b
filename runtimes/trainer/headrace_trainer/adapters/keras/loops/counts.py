"""What a step is in a loop that does not say so: a round of uses, of what the loop uses by turns.

That is the script's iteration only where each optimizer is used exactly once in each of them. What can be seen of the
opposite: a round that is another one than the first; an optimizer that has made other steps than were counted, as it
is used more than once, or not always, in one call of a tf.function.
"""

from __future__ import annotations

import weakref
from typing import Any

import tensorflow as tf
from keras.src.optimizers.loss_scale_optimizer import LossScaleOptimizer

from headrace_trainer.adapters.keras.state import variables as keras_state

# So many rounds have to be alike until it is known what a round is.
_FEWEST_ROUNDS = 2


class Rounds:
    """The uses of one loop. Held weakly, as all that is trained: what the script lets go of is gone."""

    def __init__(self) -> None:
        self.current: list[weakref.ref[Any]] = []
        self.last: weakref.ref[Any] | None = None  # what ends a round, as the round before showed
        self._first: list[weakref.ref[Any]] | None = None
        self._closed = 0
        self._why_not = ""

    def used(self, what: Any) -> bool:
        """Whether a round begins with it."""
        current = self.current
        if len(current) == 1 and current[0]() is what:  # as nearly always: what follows, made cheap
            if current is not self._first:
                self._close(current)
            self._closed += 1
            self.last = current[0]
            return True
        begins = not current or any(one() is what for one in current)
        if begins:
            if current:
                self._close(current)
                self._closed += 1
            self.last = current[-1] if current else None
            self.current = []
        self.current.append(weakref.ref(what))
        return begins

    def several_in_a_call(self) -> None:
        """One call of a function has more than one step."""
        self._why_not = self._why_not or "one call of its tf.function uses an optimizer several times"

    def begin_again(self) -> None:
        """What was counted so far does not count."""
        self.current = []

    def why_not(self, counted: int) -> str:
        """Why they are not the script's iterations; empty where they are. `counted` rounds were alike in an earlier
        attempt.
        """
        if not self._why_not and self._closed + counted < _FEWEST_ROUNDS:
            return "it is not known yet what an iteration is"
        return self._why_not

    def why_not_at_end(self) -> str:
        """The same when no other round will come: the last one is whole, or it is none."""
        if self.current:
            self._close(self.current)
        return self._why_not

    def _close(self, ended: list[weakref.ref[Any]]) -> None:
        first = self._first
        if first is not None and [id(one()) for one in ended] != [id(one()) for one in first]:
            self._why_not = self._why_not or "its optimizers are not used by turns, each once"
        self._first = ended


class Steps:
    """What the optimizers themselves say of how often they were used."""

    def __init__(self) -> None:
        self._since: list[tuple[weakref.ref[Any], int, int]] = []
        self._count = 0

    def see(self, optimizers: list[Any], step: int) -> None:
        """After a step: from here on they are looked at. Waits for the device where one is new."""
        if len(optimizers) == self._count:
            return
        self._count = len(optimizers)
        for optimizer in optimizers:
            if not any(known() is optimizer for known, _, _ in self._since):
                self._since.append((weakref.ref(optimizer), _iterations(optimizer), step))

    def why_not(self, step: int) -> str:
        """Why the steps of the loop are not theirs."""
        for reference, before, at in self._since:
            optimizer = reference()
            if optimizer is None:
                continue
            made, counted = _iterations(optimizer) - before, step - at
            # One that scales the loss leaves out what has overflowed.
            if made != counted and not (isinstance(optimizer, LossScaleOptimizer) and made < counted):
                return f"the optimizer {optimizer.name!r} made {made} steps in {counted} of the loop"
        return ""


def _iterations(optimizer: Any) -> int:
    with tf.init_scope():
        return int(keras_state.steps_of(optimizer).numpy())
