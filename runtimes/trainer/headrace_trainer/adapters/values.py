"""Python values as JSON and arrays, and back: how the state of callbacks and random generators is kept in a
checkpoint.

Only plain data passes: numbers, strings, None, lists, tuples, dicts, numpy scalars and arrays. There is no pickle
anywhere, so a checkpoint cannot run code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

_KIND = "$kind"


class NotPlainData(TypeError):
    """A value that is more than data: it is not kept."""


def encode(value: Any, arrays: dict[str, np.ndarray[Any, Any]]) -> Any:
    """`value` as JSON; arrays in it go into `arrays` under a name of their own. Raises NotPlainData."""
    # Exact types only: a subclass (an enum, a defaultdict) would come back as something else.
    if type(value) in (type(None), bool, str, int, float):
        return value
    if isinstance(value, np.ndarray | np.generic):
        if value.dtype.hasobject:
            raise NotPlainData("an array of Python objects")
        name = f"value-{len(arrays)}"
        arrays[name] = np.array(value)
        return {_KIND: "array" if isinstance(value, np.ndarray) else "scalar", "name": name}
    if type(value) is list:
        return [encode(item, arrays) for item in value]
    if type(value) is tuple:
        return {_KIND: "tuple", "items": [encode(item, arrays) for item in value]}
    if type(value) is dict:
        return {_KIND: "dict", "items": [[encode(key, arrays), encode(item, arrays)] for key, item in value.items()]}
    raise NotPlainData(type(value).__name__)


def decode(value: Any, arrays: Mapping[str, np.ndarray[Any, Any]]) -> Any:
    """What `encode` was given."""
    if isinstance(value, list):
        return [decode(item, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    match value[_KIND]:
        case "array":
            return arrays[value["name"]]
        case "scalar":
            return arrays[value["name"]][()]
        case "tuple":
            return tuple(decode(item, arrays) for item in value["items"])
        case "dict":
            return {decode(key, arrays): decode(item, arrays) for key, item in value["items"]}
        case kind:
            raise ValueError(f"a value of unknown kind {kind!r}")


def plain_attributes(instance: object, arrays: dict[str, np.ndarray[Any, Any]]) -> dict[str, Any]:
    """The attributes of an object that are plain data, encoded; the others are left out."""
    encoded: dict[str, Any] = {}
    for name, value in vars(instance).items():
        held = dict(arrays)
        try:
            encoded[name] = encode(value, held)
        except NotPlainData:
            continue
        arrays.update(held)
    return encoded
