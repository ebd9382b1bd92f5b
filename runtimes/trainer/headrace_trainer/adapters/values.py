"""Python values as JSON and arrays, and back: how the state of callbacks and random generators is kept in a
checkpoint.

Only plain data passes: numbers, strings, dates, None, the containers of Python and its standard library, tensors, numpy
scalars and arrays; and what a script's dataclasses, named tuples and enums hold of these. There is no pickle anywhere,
so a checkpoint cannot run code: a class is only looked up by its name in a module that is there, and none of its
methods is called.
"""

from __future__ import annotations

import dataclasses
import enum
import sys
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import PurePath
from typing import Any

import numpy as np

_KIND = "$kind"
# What a defaultdict may be made with.
_FACTORIES: dict[str, Any] = {"int": int, "float": float, "str": str, "list": list, "dict": dict, "set": set}
_SEQUENCES: dict[str, Any] = {"tuple": tuple, "set": set, "frozenset": frozenset}
_MAPPINGS: dict[str, Any] = {"dict": dict, "OrderedDict": OrderedDict, "Counter": Counter}
# Numpy's numbers that are the same after they were Python's.
_SHORT = frozenset("biuf")
_SHORT_BYTES = 8

Array = np.ndarray[Any, Any]


class NotPlainData(TypeError):
    """A value that is more than data: it is not kept."""


def encode(value: Any, arrays: dict[str, Array], take: Callable[[Any], Array] = np.array) -> Any:
    """`value` as JSON; arrays in it go into `arrays` under a name of their own, as copies. Raises NotPlainData."""
    # Exact types only: a subclass would come back as something else.
    kind = type(value)
    if kind in (type(None), bool, str, int, float):
        return value
    if isinstance(value, np.ndarray | np.generic):
        return _encoded_array("array" if isinstance(value, np.ndarray) else "scalar", value, arrays, take)
    if is_tensor(value):
        return _encoded_array("tensor", value, arrays, take)
    if kind is list:
        return [encode(item, arrays, take) for item in value]
    if kind in _SEQUENCES.values():
        items = sorted(value, key=repr) if isinstance(value, set | frozenset) else value  # the same in each process
        return {_KIND: kind.__name__, "items": [encode(item, arrays, take) for item in items]}
    if kind in _MAPPINGS.values():
        return {_KIND: kind.__name__, "items": _encoded_items(value, arrays, take)}
    if kind is deque:
        return {_KIND: "deque", "most": value.maxlen, "items": [encode(item, arrays, take) for item in value]}
    if kind is defaultdict:
        factory = next((name for name, one in _FACTORIES.items() if one is value.default_factory), None)
        if factory is not None:
            return {_KIND: "defaultdict", "factory": factory, "items": _encoded_items(value, arrays, take)}
    return _encoded_other(value, arrays, take)


def _encoded_other(value: Any, arrays: dict[str, Array], take: Callable[[Any], Array]) -> Any:
    if type(value) in (bytes, bytearray):
        return {_KIND: type(value).__name__, "hex": value.hex()}
    if type(value) is complex:
        return {_KIND: "complex", "parts": [value.real, value.imag]}
    if type(value) is datetime:
        return {_KIND: "datetime", "time": value.isoformat()}
    if type(value) is timedelta:
        return {_KIND: "timedelta", "parts": [value.days, value.seconds, value.microseconds]}
    if isinstance(value, PurePath):
        return {_KIND: "path", "class": _class_name(type(value)), "path": str(value)}
    if isinstance(value, enum.Enum):
        return {_KIND: "enum", "class": _class_name(type(value)), "name": value.name}
    if isinstance(value, tuple) and hasattr(type(value), "_fields"):
        items = [encode(item, arrays, take) for item in value]
        return {_KIND: "namedtuple", "class": _class_name(type(value)), "items": items}
    if is_record(value):
        items = [[name, encode(item, arrays, take)] for name, item in fields_of(value).items()]
        return {_KIND: "dataclass", "class": _class_name(type(value)), "items": items}
    raise NotPlainData(type(value).__name__)


def _encoded_items(value: Mapping[Any, Any], arrays: dict[str, Array], take: Callable[[Any], Array]) -> list[Any]:
    return [[encode(key, arrays, take), encode(item, arrays, take)] for key, item in value.items()]


def _encoded_array(kind: str, value: Any, arrays: dict[str, Array], take: Callable[[Any], Array]) -> Any:
    found = np.asarray(value)
    if found.dtype.hasobject:
        raise NotPlainData("an array of Python objects")
    if kind == "scalar" and found.dtype.kind in _SHORT and found.dtype.itemsize <= _SHORT_BYTES:
        return {_KIND: "number", "dtype": found.dtype.str, "value": found.item()}
    name = f"value-{len(arrays)}"
    arrays[name] = take(found)
    encoded = {_KIND: kind, "name": name}
    # numpy keeps types that it does not know (bfloat16) as raw bytes.
    return encoded | ({"dtype": found.dtype.name} if kind == "tensor" else {})


def decode(value: Any, arrays: Mapping[str, Array]) -> Any:
    """What `encode` was given. Raises NotPlainData where it was of a class that is not there now."""
    if isinstance(value, list):
        return [decode(item, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    kind = value[_KIND]
    if kind in ("array", "scalar", "tensor", "number"):
        return _decoded_array(kind, value, arrays)
    if kind in _SEQUENCES:
        return _SEQUENCES[kind](decode(item, arrays) for item in value["items"])
    if kind in _MAPPINGS:
        return _MAPPINGS[kind](_decoded_items(value, arrays))
    match kind:
        case "deque":
            return deque(decode(value["items"], arrays), value["most"])
        case "defaultdict":
            return defaultdict(_FACTORIES[value["factory"]], _decoded_items(value, arrays))
        case "bytes" | "bytearray":
            found = bytes.fromhex(value["hex"])
            return found if kind == "bytes" else bytearray(found)
        case "complex":
            return complex(*value["parts"])
        case "datetime":
            return datetime.fromisoformat(value["time"])
        case "timedelta":
            return timedelta(*value["parts"])
        case "path":
            return _class(value["class"], PurePath)(value["path"])
        case "enum":
            return _class(value["class"], enum.Enum).__members__[value["name"]]
        case "namedtuple":
            return tuple.__new__(_class(value["class"], tuple), decode(value["items"], arrays))
        case "dataclass":
            made = object.__new__(_class(value["class"], object))
            for name, item in value["items"]:
                object.__setattr__(made, name, decode(item, arrays))
            return made
    raise ValueError(f"a value of unknown kind {kind!r}")


def _decoded_items(value: Any, arrays: Mapping[str, Array]) -> dict[Any, Any]:
    return {decode(key, arrays): decode(item, arrays) for key, item in value["items"]}


def _decoded_array(kind: str, value: Any, arrays: Mapping[str, Array]) -> Any:
    match kind:
        case "number":
            return np.dtype(value["dtype"]).type(value["value"])
        case "scalar":
            return arrays[value["name"]][()]
        case "tensor":
            import tensorflow as tf

            dtype = tf.as_dtype(value["dtype"])
            array = arrays[value["name"]]
            return tf.constant(array.view(dtype.as_numpy_dtype) if array.dtype.kind == "V" else array, dtype)
    return arrays[value["name"]]


def is_tensor(value: Any) -> bool:
    """Whether it is one of TensorFlow's with a value, asked without TensorFlow."""
    kind = type(value)
    return kind.__name__ == "EagerTensor" and kind.__module__.startswith("tensorflow.") and hasattr(value, "numpy")


def is_record(value: Any) -> bool:
    """Whether it is an instance of a dataclass with nothing behind it."""
    return dataclasses.is_dataclass(value) and not isinstance(value, type) and type(value).__base__ is object


def fields_of(record: Any) -> dict[str, Any]:
    """What a dataclass's instance holds."""
    held = {field.name: getattr(record, field.name, None) for field in dataclasses.fields(record)}
    return held | getattr(record, "__dict__", {})


def _class_name(kind: type) -> str:
    """By which it is found again. Raises NotPlainData for one that would not be."""
    name = f"{kind.__module__}:{kind.__qualname__}"
    if _found(name) is not kind:
        raise NotPlainData(kind.__name__)
    return name


def _class(name: str, base: type) -> Any:
    found = _found(name)
    if not isinstance(found, type) or not issubclass(found, base):
        raise NotPlainData(f"{name} is not there")
    if base is object and not dataclasses.is_dataclass(found):
        raise NotPlainData(f"{name} is no dataclass")
    return found


def _found(name: str) -> Any:
    module, _, path = name.partition(":")
    found: Any = sys.modules.get(module)
    for part in path.split("."):
        found = getattr(found, part, None)
    return found
