"""The one copy of a model's state that a checkpoint needs: from TensorFlow's memory, or a GPU's, to memory of ours,
which is used for one checkpoint after another.

A step waits for this copy and for nothing else. New memory is slow the first time it is touched, more than a copy into
it is, so that is done beside the first steps. What was copied is lent until it has been written: nobody says so, it is
let go. Where it is still held when the next copy is asked for, that one gets other memory.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import tensorflow as tf

from headrace_trainer.adapters.arrays import Array
from headrace_trainer.adapters.checkpoint import Arrays, Writer
from headrace_trainer.adapters.keras.state.variables import inner

_WORTH_PREPARING = 64 << 20
_WRITE_SECONDS = 60.0
_THREADS = 4  # a few have all of the memory's bandwidth


class _Lent(dict[str, np.ndarray[Any, Any]]):
    """Arrays that belong to whoever holds this."""


class HostCopy:
    """Of one thread. Its memory goes with it, and with what it has lent."""

    def __init__(self) -> None:
        self._memory: Arrays = {}
        self._lent: weakref.ref[_Lent] | None = None
        self._preparing: threading.Thread | None = None

    def prepare(self, variables: Mapping[str, Any]) -> None:
        """Makes the memory ready in a thread of its own, where it is much."""
        memory = {
            name: np.empty(tuple(one.shape), tf.as_dtype(one.dtype).as_numpy_dtype)
            for name, one in variables.items()
            if tf.TensorShape(one.shape).is_fully_defined() and one.dtype != tf.string
        }
        if sum(array.nbytes for array in memory.values()) >= _WORTH_PREPARING:
            self._memory = memory
            self._preparing = threading.Thread(target=_touch, args=[memory], name="headrace-memory", daemon=True)
            self._preparing.start()

    @property
    def is_ready(self) -> bool:
        """Whether a copy would not have to wait for its memory."""
        return self._preparing is None or not self._preparing.is_alive()

    @property
    def is_large(self) -> bool:
        """Whether a second copy is worth waiting for, until the first one is written."""
        return sum(array.nbytes for array in self._memory.values()) >= _WORTH_PREPARING

    def wait_for(self, writer: Writer) -> None:
        """Until what was taken of a large one is written: else the ends of short fits pile up in memory."""
        if self.is_large:
            writer.wait(_WRITE_SECONDS)

    def take(self, variables: Mapping[str, Any]) -> Arrays:
        """The values of the variables now, by name."""
        if self._preparing is not None:
            self._preparing.join()
            self._preparing = None
        if self._lent is not None and self._lent() is not None:
            self._memory = {}
        arrays, values = _Lent(), []
        for name, variable in variables.items():
            value = _value(variable)
            target = self._memory.get(name)
            if target is None or (target.shape, target.dtype) != (value.shape, value.dtype):
                target = np.empty_like(value)
            values.append(value)
            arrays[name] = target
        _copy(list(zip(arrays.values(), values, strict=True)))
        self._memory = dict(arrays)
        self._lent = weakref.ref(arrays)
        return arrays


def _value(variable: Any) -> np.ndarray[Any, Any]:
    """Where it lies in TensorFlow's memory: TensorFlow changes no value that somebody still reads."""
    with tf.device("CPU:0"):
        value = inner(variable).read_value()
    try:
        return np.asarray(memoryview(value))
    except ValueError:  # a type that has no buffers, such as bfloat16
        return np.asarray(value.numpy())


def _copy(pairs: Sequence[tuple[Array, Array]]) -> None:
    """Each value to its target; many bytes by several threads at once, as the training waits and its cores are idle."""
    if sum(value.nbytes for _, value in pairs) < _WORTH_PREPARING:
        for target, value in pairs:
            np.copyto(target, value)
        return
    with ThreadPoolExecutor(min(_THREADS, len(os.sched_getaffinity(0))), "headrace-copy") as threads:
        for _ in threads.map(lambda pair: np.copyto(*pair), pairs):
            pass  # raises what a copy has raised


def _touch(memory: Arrays) -> None:
    for array in memory.values():
        array.reshape(-1).view(np.uint8).fill(0)
