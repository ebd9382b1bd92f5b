"""What code of the script's own may keep outside of the objects that it belongs to: in global names, in the variables
of a function around it, in the attributes and the defaults of a function. Whether it does is not said here: what hangs
there is compared before and after.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from headrace_trainer.adapters.functions import (
    TooMuchCode,
    attributes_of,
    function_in,
    functions_of,
    is_of_script,
    reached_by,
)

_TOO_MUCH = "more functions than were looked at"


def reached(owners: Iterable[Any]) -> dict[str, Any]:
    """What the functions of these objects reach, by name; of two things of one name both."""
    found: dict[str, Any] = {}
    try:
        for function in functions_of(_held(owners), is_of_script):
            for name, value in [*reached_by(function), *_own(function)]:
                if not isinstance(value, ModuleType | BuiltinFunctionType) and function_in(value) is None:
                    _add(found, name, value)
    except TooMuchCode:
        found[_TOO_MUCH] = (None for _ in ())  # of which nobody can tell whether it changes
    return found


def _held(owners: Iterable[Any]) -> list[Any]:
    return [value for owner in owners for value in attributes_of(owner)]


def _own(function: FunctionType) -> list[tuple[str, Any]]:
    defaults = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    return [(f"a default of {function.__name__}", value) for value in defaults] + [
        (f"{function.__name__}.{name}", value) for name, value in vars(function).items()
    ]


def _add(found: dict[str, Any], name: str, value: Any) -> None:
    count, key = 1, name
    while key in found and found[key] is not value:
        count += 1
        key = f"{name}#{count}"
    found[key] = value
