"""Models that a loop changes without an optimizer: a teacher or a target network that is given weights, an average that
is assigned. Nobody is called when a variable is assigned inside of a tf.function: what has changed is seen in the
values, when a checkpoint is taken.
"""

from __future__ import annotations

import gc
import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from headrace_trainer.adapters.keras.loops.made import models as made
from headrace_trainer.adapters.keras.models.living import variables_in
from headrace_trainer.adapters.keras.state.variables import inner

Print = int


class Others:
    """All models of the script as they were when a loop began."""

    def __init__(self) -> None:
        self._first_new = made.count
        self._prints: dict[int, dict[int, Print]] = {}  # by the model's number, of its variables by their place
        seen: dict[int, Print] = {}
        for model in made.alive():
            self._prints[made.number(model)] = _prints(model, seen, frozenset())

    def changed(self, known: Iterable[Any]) -> tuple[list[Any], str]:
        """Which of them have changed since, beside the `known` variables; and why that is not all that may matter."""
        covered = {id(inner(variable)) for variable in known}
        seen: dict[int, Print] = {}
        found: list[Any] = []
        for model in made.alive():
            before = self._prints.get(made.number(model))
            if before is None:
                continue
            now = _prints(model, seen, covered)
            if any(before.get(place) != value for place, value in now.items()):
                found.append(model)
                covered |= {id(inner(variable)) for variable in variables_in(model)}
        return found, self._doubt(covered)

    def _doubt(self, covered: set[int]) -> str:
        if not self._made_since(covered):
            return ""
        gc.collect()  # a model that nobody has any more is full of cycles
        names = [str(model.name) for model in self._made_since(covered)]
        return f"the loop has made models of its own, which are not kept: {', '.join(names[:3])}" if names else ""

    def _made_since(self, covered: set[int]) -> list[Any]:
        new = [model for model in made.alive() if made.number(model) >= self._first_new]
        return [model for model in new if any(id(inner(variable)) not in covered for variable in variables_in(model))]


def _prints(model: Any, seen: dict[int, Print], but: Iterable[int]) -> dict[int, Print]:
    """Of all that it has in it; each variable is read once."""
    found: dict[int, Print] = {}
    for place, variable in enumerate(variables_in(model)):
        value = inner(variable)
        if id(value) in but:
            continue
        if id(value) not in seen:
            seen[id(value)] = print_of(value)
        found[place] = seen[id(value)]
    return found


def print_of(variable: Any) -> Print:
    """Of the value of one of TensorFlow's variables."""
    with tf.init_scope():  # a loop may begin where a function is traced
        array = np.asarray(variable.numpy())
    # The bytes of strings are where they lie.
    return zlib.crc32(repr(array.tolist()).encode() if array.dtype == object else array.tobytes())
