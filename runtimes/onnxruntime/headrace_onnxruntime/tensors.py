"""Tensor data as the protocol carries it (JSON, nested or flat, or raw bytes), to and from arrays. No I/O here.

Nothing is converted in silence: a text is no number, 1.5 is no integer, 300 is no UINT8, 1e300 is no FP32.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import chain
from math import prod
from typing import Any

import numpy as np

from headrace_onnxruntime.engine import Array
from headrace_onnxruntime.signature import Datatype, TensorSpec
from headrace_serving.failures import RequestError, shortened
from headrace_serving.shapes import DYNAMIC

_JSON_TYPES: dict[str, frozenset[type]] = {
    "b": frozenset({bool}),
    "i": frozenset({int, float}),
    "u": frozenset({int, float}),
    "f": frozenset({int, float}),
    "O": frozenset({str}),
}
_LENGTH = struct.Struct("<I")


def check_shape(spec: TensorSpec, shape: Any) -> tuple[int, ...]:
    """`shape` as a tuple when the model's input can have it. Raises RequestError(400)."""
    if not isinstance(shape, list) or not all(type(size) is int for size in shape):
        raise bad(spec, "has no shape that is a list of integers")
    if len(shape) != len(spec.shape):
        raise bad(spec, f"has a shape of {len(shape)} dimensions; the model takes {list(spec.shape)}")
    for size, own in zip(shape, spec.shape, strict=True):
        if size < 1 or own not in (DYNAMIC, size):
            raise bad(spec, f"has the shape {shape}; the model takes {list(spec.shape)}, no dimension empty")
    return tuple(shape)


def from_json(spec: TensorSpec, shape: tuple[int, ...], data: Any) -> Array:
    """The array of `shape` with the values of `data`. Raises RequestError(400)."""
    if not isinstance(data, list):
        raise bad(spec, "has no data that is a list")
    flat = _flatten(spec, shape, data)
    if len(flat) != prod(shape):
        raise bad(spec, f"has {len(flat)} values; the shape {list(shape)} needs {prod(shape)}")
    dtype = spec.datatype.dtype
    types = set(map(type, flat))
    if not types <= _JSON_TYPES[dtype.kind]:
        odd = next(value for value in flat if type(value) not in _JSON_TYPES[dtype.kind])
        raise bad(spec, f"has a value that is no {spec.datatype.value}: {shortened(repr(odd), 40)}")
    if dtype.kind in "iu" and float in types:
        flat = [_integral(spec, value) for value in flat]
    try:
        with np.errstate(over="ignore"):
            values = np.array(flat, dtype=dtype)
    except (OverflowError, ValueError) as error:
        raise bad(spec, f"has a value out of the range of {spec.datatype.value}") from error
    if dtype.kind == "f" and not np.isfinite(values).all():
        raise bad(spec, f"has a value out of the range of {spec.datatype.value}")
    return values.reshape(shape)


def from_bytes(spec: TensorSpec, shape: tuple[int, ...], data: bytes) -> Array:
    """The array of `shape` in little-endian bytes, row by row (BYTES: each with its length as a UINT32 before it)."""
    if spec.datatype is Datatype.BYTES:
        texts = _split_texts(spec, data)
        if len(texts) != prod(shape):
            raise bad(spec, f"has {len(texts)} texts; the shape {list(shape)} needs {prod(shape)}")
        return np.array(texts, dtype=object).reshape(shape)
    dtype = spec.datatype.dtype
    needed = prod(shape) * dtype.itemsize
    if len(data) != needed:
        raise bad(spec, f"has {len(data)} bytes of data; the shape {list(shape)} needs {needed}")
    if dtype.kind == "b" and set(data) - {0, 1}:
        raise bad(spec, "has a BOOL that is neither 0 nor 1")
    # A copy: the request's buffer may be unaligned for the dtype, and must not be kept.
    return np.frombuffer(data, dtype=dtype.newbyteorder("<")).astype(dtype).reshape(shape)


def as_text(spec: TensorSpec, value: bytes) -> str:
    """One element of BYTES. Raises RequestError(400)."""
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise bad(spec, "has a text that is not UTF-8") from error


def bad(spec: TensorSpec, problem: str) -> RequestError:
    return RequestError(400, f"input {spec.name!r} {problem}")


def to_bytes(array: Array) -> bytes:
    if array.dtype.kind == "O":
        encoded = [str(text).encode() for text in array.ravel()]
        return b"".join(chain.from_iterable((_LENGTH.pack(len(text)), text) for text in encoded))
    return np.ascontiguousarray(array).tobytes()


def to_json(array: Array) -> Any:
    """What orjson writes as one flat list; values that JSON does not have (NaN, infinity) become null."""
    return array.ravel().tolist() if array.dtype.kind == "O" else np.ascontiguousarray(array).reshape(-1)


def has_nonfinite(array: Array) -> bool:
    return array.dtype.kind == "f" and not np.isfinite(array).all()


def _flatten(spec: TensorSpec, shape: tuple[int, ...], data: list[Any]) -> list[Any]:
    """`data` without its nesting, which must be the shape's where there is any."""
    if not data or type(data[0]) is not list:
        return data
    level: Sequence[Any] = data
    for depth, size in enumerate(shape):
        is_last = depth == len(shape) - 1
        if depth == 0:
            if len(level) != size:
                raise bad(spec, f"has data that is nested unlike the shape {list(shape)}")
        else:
            if any(type(item) is not list or len(item) != size for item in level):
                raise bad(spec, f"has data that is nested unlike the shape {list(shape)}")
            level = list(chain.from_iterable(level))
        if is_last:
            return list(level)
    raise bad(spec, "has nested data; the model takes one value")


def _integral(spec: TensorSpec, value: int | float) -> int:
    if isinstance(value, float) and not value.is_integer():
        raise bad(spec, f"has a value that is no {spec.datatype.value}: {value!r}")
    return int(value)


def _split_texts(spec: TensorSpec, data: bytes) -> list[str]:
    texts = []
    offset = 0
    while offset < len(data):
        end_of_length = offset + _LENGTH.size
        if end_of_length > len(data):
            raise bad(spec, "ends within a length")
        end = end_of_length + _LENGTH.unpack_from(data, offset)[0]
        if end > len(data):
            raise bad(spec, "ends within a text")
        texts.append(as_text(spec, data[end_of_length:end]))
        offset = end
    return texts
