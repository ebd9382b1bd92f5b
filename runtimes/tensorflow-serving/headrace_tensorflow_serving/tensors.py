"""Tensors as the REST API carries them, nested lists of JSON values, to and from arrays. No I/O here.

Nothing is converted in silence: a text is no number, 1.5 and 1.0 are no integers, 300 is no uint8, 1e300 is no float.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from itertools import chain
from typing import Any, NoReturn

import numpy as np

from headrace_serving.failures import shortened
from headrace_tensorflow_serving.codes import Code
from headrace_tensorflow_serving.failures import CodedError
from headrace_tensorflow_serving.signature import Array, Family, TensorSpec

BASE64 = "b64"

# Outputs whose name ends so are bytes, all other texts are UTF-8: a rule of the official server.
BYTES_SUFFIX = "_bytes"

_JSON_TYPES: dict[Family, frozenset[type]] = {
    Family.FLOAT: frozenset({int, float}),
    Family.INTEGER: frozenset({int}),
    Family.BOOLEAN: frozenset({bool}),
    Family.TEXT: frozenset({str, dict}),
}


def is_base64(value: Any) -> bool:
    """Whether `value` stands for bytes: {"b64": "…"}, and nothing beside it."""
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get(BASE64), str)


def from_json(spec: TensorSpec, value: Any) -> Array:
    """The array that `value`, of any nesting, describes. Raises CodedError(INVALID_ARGUMENT, UNIMPLEMENTED)."""
    if spec.family is Family.OTHER:
        raise CodedError(Code.UNIMPLEMENTED, f"input {spec.name!r} is of type {spec.type_name}: only gRPC carries it")
    flat, shape = _flatten(spec, value)
    spec.check_shape(shape)
    types = set(map(type, flat))
    if not types <= _JSON_TYPES[spec.family]:
        odd = next(item for item in flat if type(item) not in _JSON_TYPES[spec.family])
        _refuse(spec, f"has a value that is no {spec.type_name}: {shortened(repr(odd), 40)}")
    return _array(spec, flat).reshape(shape)


def to_json(spec: TensorSpec, array: Array) -> Any:
    """What orjson writes as nested lists (or one value) for an output. Raises CodedError(INVALID_ARGUMENT)."""
    if spec.family is Family.OTHER:
        raise CodedError(
            Code.INVALID_ARGUMENT, f"output {spec.name!r} is of type {spec.type_name}: only gRPC carries it"
        )
    if spec.family is Family.TEXT:
        return _texts(array, as_bytes=spec.name.endswith(BYTES_SUFFIX))
    if spec.family is Family.FLOAT and array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float32)
    # As orjson wants it; one value without dimensions stays one.
    return np.ascontiguousarray(array) if array.ndim else array[()]


def exact(value: Any) -> Any:
    """What the standard library's encoder writes as orjson writes `value`, but NaN and infinities by their names."""
    if isinstance(value, dict):
        return {key: exact(item) for key, item in value.items()}
    if isinstance(value, list):
        return [exact(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
        if array.dtype != np.float32:
            return array.tolist()
        # By way of its text: the shortest that gives the same float32 again is that of this float64.
        return np.array([float(str(item)) for item in array.ravel()]).reshape(array.shape).tolist()
    return value


def has_nonfinite(spec: TensorSpec, array: Array) -> bool:
    return spec.family is Family.FLOAT and not np.isfinite(array).all()


def _flatten(spec: TensorSpec, value: Any) -> tuple[Sequence[Any], tuple[int, ...]]:
    """The values without their nesting, and the shape that it gives them."""
    shape: list[int] = []
    level: list[Any] = [value]
    while level and type(level[0]) is list:
        size = len(level[0])
        if any(type(item) is not list or len(item) != size for item in level):
            _refuse(spec, f"has lists of different length or depth at level {len(shape) + 1}")
        shape.append(size)
        level = list(chain.from_iterable(level)) if len(level) > 1 else level[0]
    if any(type(item) is list for item in level):
        _refuse(spec, f"has lists of different depth at level {len(shape) + 1}")
    return level, tuple(shape)


def _array(spec: TensorSpec, flat: Sequence[Any]) -> Array:
    try:
        if spec.family is Family.TEXT:
            texts = np.empty(len(flat), dtype=object)
            texts[:] = [_bytes(spec, item) for item in flat]
            return texts
        if spec.family is not Family.FLOAT:
            return np.array(flat, dtype=spec.dtype)
        numbers = np.array(flat, dtype=np.float64)
        with np.errstate(over="ignore"):
            values = numbers.astype(spec.dtype)
    except (OverflowError, ValueError) as error:
        raise CodedError(
            Code.INVALID_ARGUMENT, f"input {spec.name!r} has a value out of the range of {spec.type_name}"
        ) from error
    if (~np.isfinite(values) & np.isfinite(numbers)).any():
        _refuse(spec, f"has a value out of the range of {spec.type_name}")
    return values


def _bytes(spec: TensorSpec, value: Any) -> bytes:
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError:
            _refuse(spec, "has a text that is not Unicode")
    if not is_base64(value):
        _refuse(spec, f"has an object that is not {{{BASE64!r}: text}}: {shortened(repr(value), 40)}")
    text = value[BASE64]
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        _refuse(spec, "has a value that is not base64")


def _texts(array: Array, *, as_bytes: bool) -> Any:
    written = np.empty(array.size, dtype=object)
    written[:] = [_text(item, as_bytes) for item in array.ravel()]
    return written.reshape(array.shape).tolist()


def _text(value: Any, as_bytes: bool) -> str | dict[str, str]:
    content = value if isinstance(value, bytes) else str(value).encode()
    return {BASE64: base64.b64encode(content).decode()} if as_bytes else content.decode(errors="replace")


def _refuse(spec: TensorSpec, problem: str) -> NoReturn:
    raise CodedError(Code.INVALID_ARGUMENT, f"input {spec.name!r} {problem}")
