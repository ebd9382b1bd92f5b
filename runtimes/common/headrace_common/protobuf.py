"""Protobuf's wire format, as far as it takes to find something in a message whose schema is known elsewhere: no library
that knows it need be in the image. https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5
_MOST_DEPTH = 100  # protobuf's own

# Of each kind of message: which of its fields are messages, and of which kind.
Schema = Mapping[str, Mapping[int, str]]


class NotProtobuf(ValueError):
    """The bytes are no message."""


class Part(NamedTuple):
    """A field that has a length: its number, where it begins and where it ends."""

    number: int
    begin: int
    end: int


def parts(content: bytes, begin: int, end: int) -> Iterator[Part]:
    """The fields of a message that have a length; the others are passed over. Raises NotProtobuf."""
    while begin < end:
        tag, begin = _varint(content, begin, end)
        kind, number = tag & 7, tag >> 3
        if kind == _BYTES:
            length, begin = _varint(content, begin, end)
            if not number or begin + length > end:
                raise NotProtobuf
            yield Part(number, begin, begin + length)
            begin += length
        elif kind == _VARINT:
            _, begin = _varint(content, begin, end)
        elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
            begin += 8 if kind == _EIGHT_BYTES else 4
        else:
            raise NotProtobuf
        if not number or begin > end:
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
