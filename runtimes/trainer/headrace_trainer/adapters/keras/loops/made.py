"""The models and optimizers of a script in the order in which it makes them. In the next attempt it makes them in the
same order: by that, one is told from another that has its name (`clone_model` gives the copy the original's).

Held weakly: this keeps nothing alive.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any

import keras
from keras.src.optimizers.base_optimizer import BaseOptimizer


class Made:
    """Things of one kind."""

    def __init__(self) -> None:
        self.count = 0  # of all that there were
        self._by_number: dict[int, weakref.ref[Any]] = {}
        self._numbers: dict[int, int] = {}  # by id, of what is alive

    def add(self, thing: Any) -> None:
        """It is being made."""
        number, key = self.count, id(thing)
        self.count += 1

        def forget(_: weakref.ref[Any]) -> None:
            self._by_number.pop(number, None)
            if self._numbers.get(key) == number:
                del self._numbers[key]

        self._by_number[number] = weakref.ref(thing, forget)
        self._numbers[key] = number

    def alive(self) -> list[Any]:
        """What is still there, in order."""
        found = (reference() for _, reference in sorted(self._by_number.items()))
        return [thing for thing in found if thing is not None]

    def number(self, thing: Any) -> int:
        """Of how many it is the next one; -1 for what was not seen being made."""
        number = self._numbers.get(id(thing), -1)
        return number if number >= 0 and self._by_number[number]() is thing else -1

    def numbered(self, number: int) -> Any:
        """The one that was made as that, if it is still there."""
        reference = self._by_number.get(number)
        return None if reference is None else reference()


models = Made()
optimizers = Made()


def follow() -> None:
    """From here on both are seen being made."""
    keras.Model.__new__ = staticmethod(_new(keras.Model.__new__))
    original = BaseOptimizer.__init__

    @functools.wraps(original)
    def initialize(self: Any, *args: Any, **kwargs: Any) -> None:
        optimizers.add(self)
        original(self, *args, **kwargs)

    BaseOptimizer.__init__ = initialize


def _new(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def new(cls: Any, *args: Any, **kwargs: Any) -> Any:
        made = original(cls, *args, **kwargs)
        if models.number(made) < 0:  # the constructor of one class may call another's
            models.add(made)
        return made

    return new
