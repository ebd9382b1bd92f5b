"""The code of the script's own that an object's methods may run, as far as names tell: its functions, and those that
these reach by global names and closures. What is called on an object is not followed.
"""

from __future__ import annotations

import dis
import functools
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

# They are known, or look after themselves.
_LIBRARIES = ("keras.", "tensorflow.", "numpy.", "headrace_client")
_FOLDERS = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
_MOST_FUNCTIONS = 1000


class TooMuchCode(RuntimeError):
    """Not all of it was looked at."""


def attributes_of(thing: Any) -> list[Any]:
    """What an object and its own classes hold, its methods among them."""
    own = [kind for kind in type(thing).__mro__ if kind is not object and not is_of_library(kind)]
    return [*getattr(thing, "__dict__", {}).values(), *(value for kind in own for value in vars(kind).values())]


def functions_of(
    values: Iterable[Any], follows: Callable[[FunctionType], bool] = lambda _function: True
) -> Iterator[FunctionType]:
    """Those among the values, and what they reach, as far as `follows`. Raises TooMuchCode at the thousandth."""
    pending = list(values)
    seen: set[int] = set()
    while pending:
        value = pending.pop()
        if isinstance(value, dict | list | tuple | set):  # of functions, or of something else
            members = list(value.values()) if isinstance(value, dict) else list(value)
            pending += [one for one in members[:_MOST_FUNCTIONS] if function_in(one) is not None]
            continue
        function = function_in(value)
        if function is None or id(function) in seen or is_of_library(function) or not follows(function):
            continue
        seen.add(id(function))
        if len(seen) > _MOST_FUNCTIONS:
            raise TooMuchCode
        yield function
        pending += [value for _, value in reached_by(function)]


def reached_by(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """What a function finds by global names and in its closure, with the names; of a module of the script's what it
    names of it.
    """
    codes = list(codes_of(function))
    named = {name for code in codes for name in code.co_names}
    for name in sorted({name for code in codes for name in _globals(code)}):
        if name not in function.__globals__:
            continue
        value = function.__globals__[name]
        yield name, value
        if isinstance(value, ModuleType) and is_module_of_script(value):
            yield from ((f"{name}.{inner}", vars(value)[inner]) for inner in sorted(named & vars(value).keys()))
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:  # it has not been set
            continue


def codes_of(function: FunctionType) -> Iterator[CodeType]:
    """Its own, and that of the functions in it."""
    pending = [function.__code__]
    while pending:
        code = pending.pop()
        yield code
        pending += [constant for constant in code.co_consts if isinstance(constant, CodeType)]


def function_in(value: Any) -> FunctionType | None:
    """The function behind a method, a property, a partial call, or what was compiled of it."""
    if isinstance(value, property):
        value = value.fget
    while isinstance(value, functools.partial | functools._lru_cache_wrapper):
        value = value.func if isinstance(value, functools.partial) else value.__wrapped__
    value = getattr(value, "__func__", value)  # of a method, a staticmethod, a classmethod
    value = getattr(value, "python_function", value)  # of a tf.function
    return value if isinstance(value, FunctionType) else None


def is_of_library(thing: Any) -> bool:
    """Of one that is known."""
    return str(getattr(thing, "__module__", "")).startswith(_LIBRARIES)


def is_of_script(thing: FunctionType | type) -> bool:
    """Whether a function or a class is neither Python's nor that of a package that was installed."""
    if isinstance(thing, FunctionType):
        return is_path_of_script(thing.__code__.co_filename)
    path = getattr(sys.modules.get(thing.__module__), "__file__", None) or ""
    if not path and thing.__module__ != "__main__":
        return thing.__module__ not in sys.builtin_module_names
    return is_path_of_script(path)


def is_module_of_script(module: ModuleType) -> bool:
    """The same of a module."""
    path = getattr(module, "__file__", None)
    return path is not None and not module.__name__.startswith(_LIBRARIES) and is_path_of_script(path)


def is_path_of_script(path: str) -> bool:
    """The same of a file of code."""
    return not path.startswith((*_FOLDERS, "<frozen")) and not any(
        path.startswith(f"{folder}/") and _has_packages(folder) for folder in sys.path if folder
    )


@functools.cache
def _has_packages(folder: str) -> bool:
    """Whether an installer has put them there, wherever that is."""
    return any(Path(folder).glob("*.dist-info"))


@functools.cache
def attributes_set_by(kind: type) -> frozenset[str]:
    """The names that a class's own functions give to attributes of whatever object."""
    functions = [function for value in vars(kind).values() if (function := function_in(value)) is not None]
    return frozenset(
        str(one.argval)
        for function in functions
        for code in codes_of(function)
        for one in dis.get_instructions(code)
        if one.opname == "STORE_ATTR"
    )


@functools.cache
def _globals(code: CodeType) -> frozenset[str]:
    """Without the names of attributes."""
    loads = ("LOAD_GLOBAL", "LOAD_NAME", "STORE_GLOBAL", "DELETE_GLOBAL")
    return frozenset(str(one.argval) for one in dis.get_instructions(code) if one.opname in loads)
