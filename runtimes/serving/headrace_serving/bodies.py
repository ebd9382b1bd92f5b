"""Reads the body of an HTTP request within bounds: its size, unpacked too, its time, and what all requests hold."""

from __future__ import annotations

import asyncio
import zlib
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from headrace_serving.buffers import Share
from headrace_serving.failures import CLIENT_CLOSED, IncompleteError, RequestError

_GZIP_WINDOW = 16 + zlib.MAX_WBITS


@dataclass(frozen=True)
class Bounds:
    """Of one body: `max_bytes` as it is sent and unpacked, `seconds` from the headers to the last byte; and the flags
    that raise them.
    """

    max_bytes: int
    bytes_flag: str
    seconds: float
    seconds_flag: str


async def read(request: web.BaseRequest, share: Share, bounds: Bounds) -> bytes:
    """The body as it was sent. A client that waits to be asked for it (Expect: 100-continue) is asked, unless its
    headers say that it is too large. Raises RequestError(400, 413, 503), IncompleteError(408, 499).
    """
    if (request.content_length or 0) > bounds.max_bytes:
        raise _too_large(bounds)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(bounds.seconds) as limit:
            with share.under_way(partial(loop.call_soon_threadsafe, _end_now, limit)):
                await _ask_for_it(request)
                return await _read(request, share, bounds)
    except TimeoutError as error:
        message = f"the body did not arrive within {bounds.seconds:g} s; {bounds.seconds_flag} raises that"
        raise share.given_up or IncompleteError(408, message) from error


async def _read(request: web.BaseRequest, share: Share, bounds: Bounds) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while chunk := await _next(request):
        size += len(chunk)
        if size > bounds.max_bytes:
            raise _too_large(bounds)
        share.take(len(chunk))
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _end_now(limit: asyncio.Timeout) -> None:
    # Over already, where the last byte came in this moment.
    with suppress(RuntimeError):
        limit.reschedule(asyncio.get_running_loop().time())


def encoding(request: web.BaseRequest) -> str:
    return request.headers.get("Content-Encoding", "").strip().lower()


def unpack(body: bytes, encoding: str, share: Share, bounds: Bounds) -> bytes:
    """The body without its Content-Encoding. Raises RequestError(400, 413, 415, 503)."""
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "x-gzip"):
        raise RequestError(415, f"Content-Encoding {encoding!r} is not supported; gzip is")
    unpacked = _gunzip(body, bounds)
    share.take(len(unpacked))
    return unpacked


async def _ask_for_it(request: web.BaseRequest) -> None:
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # Not part of the answer: without this aiohttp takes the headers for sent.
        request.writer.output_size = 0


async def _next(request: web.BaseRequest) -> bytes:
    try:
        return await request.content.readany()
    except ConnectionError as error:
        raise IncompleteError(CLIENT_CLOSED, "the client went away") from error
    except (HttpProcessingError, web.RequestPayloadError) as error:
        raise RequestError(400, "the body is not what its headers say") from error


def _gunzip(body: bytes, bounds: Bounds) -> bytes:
    parts: list[bytes] = []
    room = bounds.max_bytes
    rest = body
    while rest:
        member = zlib.decompressobj(_GZIP_WINDOW)
        try:
            part = member.decompress(rest, room + 1)
        except zlib.error as error:
            raise RequestError(400, f"the body is not gzip: {error}") from error
        room -= len(part)
        if room < 0:
            raise _too_large(bounds)
        if not member.eof:
            raise RequestError(400, "the gzip body is cut off")
        parts.append(part)
        # Zeros behind a member are padding, as gzip(1) has it.
        rest = member.unused_data.lstrip(b"\0")
    return b"".join(parts)


def _too_large(bounds: Bounds) -> RequestError:
    return RequestError(413, f"the body has more than {bounds.max_bytes} bytes; {bounds.bytes_flag} raises that")
