"""The files that an ONNX model has its weights in ("external data"), by the standard library alone.

Of the file's protobuf only the way to these names is followed. https://onnx.ai/onnx/repo-docs/ExternalData.html; the
numbers of the fields: onnx.proto.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

# Messages, and which of their fields are messages on the way.
_FIELDS = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
_DATA, _KEY, _VALUE = 13, 1, 2
_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5


class _NotProtobuf(Exception):
    """Somebody else is to say what is wrong with the file."""


def external(model: Path) -> list[str]:
    """The files' paths beside the model, with slashes; none of a file that is no ONNX model. Raises ValueError for one
    that leads out of the model's folder, and FileNotFoundError for one that is not there.
    """
    if not model.stat().st_size:
        return []
    found: dict[str, None] = {}
    with model.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        try:
            found = dict.fromkeys(_locations(content, 0, len(content), "model"))
        except (_NotProtobuf, UnicodeDecodeError):
            return []
    for name in found:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or not path.name:
            raise ValueError(f"{model} has weights in {name!r}, which is not in its folder: save them beside the model")
        if not (model.parent / name).is_file():
            raise FileNotFoundError(f"{model} has weights in {name!r}, and there is no such file beside it")
    return list(found)


def _locations(content: mmap.mmap, start: int, end: int, message: str) -> Iterator[str]:
    for number, begin, after in _parts(content, start, end):
        if message != "tensor":
            inner = _FIELDS[message].get(number)
            if inner is not None:
                yield from _locations(content, begin, after, inner)
        elif number == _DATA:
            entry = {key: content[first:last] for key, first, last in _parts(content, begin, after)}
            if entry.get(_KEY) == b"location":
                yield entry.get(_VALUE, b"").decode()


def _parts(content: mmap.mmap, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Number, begin and end of each field that has a length; the others are passed over."""
    while start < end:
        tag, start = _varint(content, start, end)
        kind = tag & 7
        if kind == _BYTES:
            length, start = _varint(content, start, end)
            if start + length > end:
                raise _NotProtobuf
            yield tag >> 3, start, start + length
            start += length
        elif kind == _VARINT:
            _, start = _varint(content, start, end)
        elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
            start += 8 if kind == _EIGHT_BYTES else 4
        else:
            raise _NotProtobuf


def _varint(content: mmap.mmap, start: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while start < end and shift < 70:
        byte = content[start]
        start += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, start
        shift += 7
    raise _NotProtobuf
