"""Protobuf's wire format, as far as it takes to find something in a message whose schema is known elsewhere: no library
that knows it need be in the image. https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5
_MOST_DEPTH = 100  # protobuf's own
_BITS = 64

# Of each kind of message: which of its fields are messages, and of which kind.
Schema = Mapping[str, Mapping[int, str]]


class NotProtobuf(ValueError):
    """The bytes are no message."""


class Part(NamedTuple):
    """A field that has a length: its number, where it begins and where it ends."""

    number: int
    begin: int
    end: int


class Number(NamedTuple):
    """A field that is a whole number: an int32, int64, bool or enum."""

    number: int
    value: int


@contextmanager
def mapped(path: Path) -> Iterator[bytes]:
    """The file's bytes, of any size, without reading them all. Raises NotProtobuf where there are none, and OSError."""
    if not path.stat().st_size:
        raise NotProtobuf("it is empty")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        yield content  # type: ignore[misc]  # it can be looked at as bytes can


def parts(content: bytes, begin: int, end: int) -> Iterator[Part]:
    """The fields of a message that have a length; the others are passed over. Raises NotProtobuf."""
    return (field for field in fields(content, begin, end) if isinstance(field, Part))


def fields(content: bytes, begin: int, end: int) -> Iterator[Part | Number]:
    """The fields of a message that have a length, or are whole numbers; the others are passed over. Raises
    NotProtobuf.
    """
    while begin < end:
        tag, begin = _varint(content, begin, end)
        kind, number = tag & 7, tag >> 3
        if not number:
            raise NotProtobuf
        if kind == _BYTES:
            length, begin = _varint(content, begin, end)
            if begin + length > end:
                raise NotProtobuf
            yield Part(number, begin, begin + length)
            begin += length
        elif kind == _VARINT:
            value, begin = _varint(content, begin, end)
            yield Number(number, _signed(value))
        elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
            begin += 8 if kind == _EIGHT_BYTES else 4
        else:
            raise NotProtobuf
        if begin > end:
            raise NotProtobuf


def of_kind(content: bytes, wanted: str, message: Part, kind: str, schema: Schema, depth: int = 0) -> Iterator[Part]:
    """All messages of the kind `wanted` in a message of another kind, at any depth. Raises NotProtobuf."""
    if kind == wanted:
        yield message
        return
    if depth > _MOST_DEPTH:
        raise NotProtobuf
    for part in parts(content, message.begin, message.end):
        if (inner := schema[kind].get(part.number)) is not None:
            yield from of_kind(content, wanted, part, inner, schema, depth + 1)


def _varint(content: bytes, begin: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while begin < end and shift < 70:
        byte = content[begin]
        begin += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, begin
        shift += 7
    raise NotProtobuf


def _signed(value: int) -> int:
    """Negative numbers are written as their complement of two."""
    value &= (1 << _BITS) - 1
    return value - (1 << _BITS) if value >> (_BITS - 1) else value
