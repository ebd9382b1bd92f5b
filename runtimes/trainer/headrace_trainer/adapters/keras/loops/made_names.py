"""The names of a function that only an iteration of its loop has made, and that are read later on: an epoch's order,
made by its first batch; the last loss, printed after the loop. Where an attempt goes on after that iteration they would
not be there, and the script would end with a NameError. So plain values of them go with the checkpoint, and are given
to names that nothing stands for yet.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Mapping
from inspect import CO_OPTIMIZED
from types import FrameType
from typing import Any

from headrace_trainer.adapters import liveness, values
from headrace_trainer.adapters.arrays import Array

_MOST_BYTES = 64 << 20


class Made:
    """Of one loop, from where it begins: `frame` is that of its function."""

    def __init__(self, frame: FrameType) -> None:
        self.code = frame.f_code
        there = locals_of(frame)
        own = (
            set()
            if calls_locals(frame)
            else {*self.code.co_varnames, *self.code.co_cellvars, *(() if _is_function(frame) else self.code.co_names)}
        )
        self._names = sorted(
            name for name in liveness.read_from(self.code, frame.f_lasti) if name in own and name not in there
        )

    def taken(self, frame: FrameType, arrays: dict[str, Array]) -> dict[str, Any]:
        """What they stand for now, as JSON; arrays go into `arrays`."""
        there = locals_of(frame) if self._names else {}
        found: dict[str, Any] = {}
        for name in self._names:
            before = len(arrays)
            try:
                if name in there:
                    found[name] = values.encode(there[name], arrays)
            except (values.NotPlainData, RecursionError):
                _forget(arrays, before)
            if sum(array.nbytes for array in list(arrays.values())[before:]) > _MOST_BYTES:
                found.pop(name, None)
                _forget(arrays, before)
        return found

    def put_back(self, frame: FrameType, made: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
        """Of those that stand for nothing."""
        if calls_locals(frame):
            return
        there = frame.f_locals
        for name in self._names:
            if name not in made or name in there:
                continue
            try:
                there[name] = values.decode(made[name], arrays)
            except values.NotPlainData:  # of a class that is not there yet
                continue
        if _is_function(frame) and isinstance(there, dict):
            ctypes.pythonapi.PyFrame_LocalsToFast(ctypes.py_object(frame), ctypes.c_int(0))
            there.clear()


def locals_of(frame: FrameType) -> Mapping[str, Any]:
    """As they are now. A function's own are copied into a dict that stays with it, until Python 3.12: what the script
    lets go of would be held by that. `locals()` gives the same dict to the script: who calls that is not looked at.
    """
    if not _is_function(frame):
        return frame.f_locals
    if calls_locals(frame):
        return {}
    there = frame.f_locals
    copied = dict(there)
    if isinstance(there, dict):
        there.clear()
    return copied


def calls_locals(frame: FrameType) -> bool:
    """Whether a function has a dict of its names that we would change by looking."""
    return sys.version_info < (3, 13) and _is_function(frame) and "locals" in frame.f_code.co_names


def _is_function(frame: FrameType) -> bool:
    return bool(frame.f_code.co_flags & CO_OPTIMIZED)


def _forget(arrays: dict[str, Array], before: int) -> None:
    while len(arrays) > before:
        arrays.popitem()
