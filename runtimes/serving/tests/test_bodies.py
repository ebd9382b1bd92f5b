"""Bodies without their packing; how they are read from a connection is tested with each server."""

from __future__ import annotations

import gzip

import pytest
from serving_support import BROKEN_GZIP

from headrace_serving import bodies
from headrace_serving.bodies import Bounds
from headrace_serving.buffers import Buffers
from headrace_serving.failures import RequestError


def unpacked(body: bytes, encoding: str, max_bytes: int = 100, room: int = 100) -> bytes:
    with Buffers(room).share() as share:
        return bodies.unpack(body, encoding, share, Bounds(max_bytes, "--bytes", 1, "--seconds"))


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (b"text", ""),
        (b"text", "identity"),
        (gzip.compress(b"text", mtime=0), "gzip"),
        (gzip.compress(b"text", mtime=0) + bytes(700), "gzip"),
        (gzip.compress(b"te", mtime=0) + bytes(7) + gzip.compress(b"xt", mtime=0), "gzip"),
        (gzip.compress(b"te", mtime=0) + gzip.compress(b"xt", mtime=0), "x-gzip"),
    ],
)
def test_a_body_is_what_was_packed(body, encoding):
    assert unpacked(body, encoding) == b"text"


@pytest.mark.parametrize(
    ("body", "encoding", "status"),
    [
        *((body, "gzip", 400) for body in BROKEN_GZIP if body),
        (gzip.compress(b" " * 101, mtime=0), "gzip", 413),
        (gzip.compress(b" " * 60, mtime=0) * 2, "gzip", 413),
        (gzip.compress(b" " * 51, mtime=0), "gzip", 503),
        (b"text", "br", 415),
    ],
)
def test_other_packings_and_too_much_of_it_are_refused(body, encoding, status):
    with pytest.raises(RequestError) as caught:
        unpacked(body, encoding, room=50)
    assert caught.value.status == status
    assert ("--bytes raises that" in caught.value.message) == (status == 413)
