"""Whether code of the script's own draws from the global random generators, as far as its names tell.

Asked of callbacks where nothing else can tell: data that draws from the same generators, ahead of the training, has
moved them as well. Functions that are reached by global names and closures are followed; what is called on an object is
not.
"""

from __future__ import annotations

import dis
import random
from collections.abc import Iterable, Iterator
from types import CodeType, FunctionType
from typing import Any

import numpy as np

# They draw for themselves only, or are known to have been put back.
_LIBRARIES = ("keras.", "tensorflow.", "numpy.")
_MOST_FUNCTIONS = 1000


def may_draw(callback: Any) -> bool:
    """Of an object's methods, and of functions that it holds."""
    own = [kind for kind in type(callback).__mro__ if kind is not object and not _is_of_library(kind)]
    pending = [*vars(callback).values(), *(value for kind in own for value in vars(kind).values())]
    seen: set[int] = set()
    while pending:
        value = pending.pop()
        if value is random or value is np.random:
            return True
        if isinstance(getattr(value, "__self__", None), random.Random | np.random.RandomState):
            return True
        function = _function(value)
        if function is None or id(function) in seen or _is_of_library(function):
            continue
        seen.add(id(function))
        codes = list(_codes(function.__code__))
        if len(seen) > _MOST_FUNCTIONS or any("random" in code.co_names for code in codes):
            return True
        names = {name for code in codes for name in _globals(code)}
        pending += [function.__globals__[name] for name in names if name in function.__globals__]
        pending += _enclosed(function)
    return False


def _function(value: Any) -> FunctionType | None:
    if isinstance(value, property):
        value = value.fget
    value = getattr(value, "__func__", value)  # of a method, a staticmethod, a classmethod
    return value if isinstance(value, FunctionType) else None


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _globals(code: CodeType) -> Iterator[str]:
    """Without the names of attributes."""
    return (str(one.argval) for one in dis.get_instructions(code) if one.opname in ("LOAD_GLOBAL", "LOAD_NAME"))


def _enclosed(function: FunctionType) -> Iterable[Any]:
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # it has not been set
            continue


def _is_of_library(thing: Any) -> bool:
    return str(getattr(thing, "__module__", "")).startswith(_LIBRARIES)
