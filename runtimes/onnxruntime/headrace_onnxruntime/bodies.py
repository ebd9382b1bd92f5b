"""Reads a request's body within bounds: its own size, unpacked, and what all requests hold together."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from headrace_onnxruntime.failures import RequestError

# Nobody reads this answer; in the counters it must not look like a failure. The number is nginx's.
CLIENT_CLOSED = 499

_GZIP_WINDOW = 16 + zlib.MAX_WBITS


class BodyReader:
    """`max_bytes` bounds one body, packed and unpacked; `max_buffered_bytes` all that are held at a time."""

    def __init__(self, max_bytes: int, max_buffered_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._max_buffered_bytes = max_buffered_bytes
        self._buffered = 0

    @contextmanager
    def budget(self) -> Iterator[Budget]:
        """The room that one request takes, given back when the request is done."""
        budget = Budget(self)
        try:
            yield budget
        finally:
            self._buffered -= budget.taken

    async def read(self, request: web.BaseRequest, budget: Budget) -> bytes:
        """The body as it was sent. Raises RequestError(413) and RequestError(503)."""
        if (request.content_length or 0) > self._max_bytes:
            raise self._too_large()
        chunks: list[bytes] = []
        size = 0
        while chunk := await self._next(request):
            size += len(chunk)
            if size > self._max_bytes:
                raise self._too_large()
            budget.take(len(chunk))
            chunks.append(chunk)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def _next(self, request: web.BaseRequest) -> bytes:
        try:
            return await request.content.readany()
        except ConnectionError as error:
            raise RequestError(CLIENT_CLOSED, "the client went away") from error
        except (HttpProcessingError, web.RequestPayloadError) as error:
            raise RequestError(400, "the body is not what its headers say") from error

    def unpack(self, body: bytes, encoding: str, budget: Budget) -> bytes:
        """The body without its Content-Encoding. Raises RequestError(400, 413, 415, 503)."""
        if encoding in ("", "identity"):
            return body
        if encoding not in ("gzip", "x-gzip"):
            raise RequestError(415, f"Content-Encoding {encoding!r} is not supported; gzip is")
        unpacked = self._gunzip(body)
        budget.take(len(unpacked))
        return unpacked

    def _gunzip(self, body: bytes) -> bytes:
        parts: list[bytes] = []
        room = self._max_bytes
        rest = body
        while rest:
            member = zlib.decompressobj(_GZIP_WINDOW)
            try:
                part = member.decompress(rest, room + 1)
            except zlib.error as error:
                raise RequestError(400, f"the body is not gzip: {error}") from error
            room -= len(part)
            if room < 0:
                raise self._too_large()
            if not member.eof:
                raise RequestError(400, "the gzip body is cut off")
            parts.append(part)
            rest = member.unused_data
        return b"".join(parts)

    def take(self, size: int) -> None:
        if self._buffered + size > self._max_buffered_bytes:
            raise RequestError(503, "the server holds as many bytes of requests as it may; try again")
        self._buffered += size

    def _too_large(self) -> RequestError:
        return RequestError(413, f"the body has more than {self._max_bytes} bytes")


class Budget:
    """What one request has taken of the room for all."""

    def __init__(self, reader: BodyReader) -> None:
        self._reader = reader
        self.taken = 0

    def take(self, size: int) -> None:
        """Raises RequestError(503)."""
        self._reader.take(size)
        self.taken += size
