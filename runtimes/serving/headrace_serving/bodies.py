"""Reads the body of an HTTP request within bounds: its own size, unpacked, and what all requests hold together."""

from __future__ import annotations

import zlib

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from headrace_serving.buffers import Share
from headrace_serving.failures import CLIENT_CLOSED, RequestError

_GZIP_WINDOW = 16 + zlib.MAX_WBITS


async def read(request: web.BaseRequest, share: Share, max_bytes: int) -> bytes:
    """The body as it was sent. A client that waits to be asked for it (Expect: 100-continue) is asked, unless its
    headers say that it is too large. Raises RequestError(400, 413, 499, 503).
    """
    if (request.content_length or 0) > max_bytes:
        raise _too_large(max_bytes)
    await _ask_for_it(request)
    chunks: list[bytes] = []
    size = 0
    while chunk := await _next(request):
        size += len(chunk)
        if size > max_bytes:
            raise _too_large(max_bytes)
        share.take(len(chunk))
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def encoding(request: web.BaseRequest) -> str:
    return request.headers.get("Content-Encoding", "").strip().lower()


def unpack(body: bytes, encoding: str, share: Share, max_bytes: int) -> bytes:
    """The body without its Content-Encoding. Raises RequestError(400, 413, 415, 503)."""
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "x-gzip"):
        raise RequestError(415, f"Content-Encoding {encoding!r} is not supported; gzip is")
    unpacked = _gunzip(body, max_bytes)
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
        raise RequestError(CLIENT_CLOSED, "the client went away") from error
    except (HttpProcessingError, web.RequestPayloadError) as error:
        raise RequestError(400, "the body is not what its headers say") from error


def _gunzip(body: bytes, max_bytes: int) -> bytes:
    parts: list[bytes] = []
    room = max_bytes
    rest = body
    while rest:
        member = zlib.decompressobj(_GZIP_WINDOW)
        try:
            part = member.decompress(rest, room + 1)
        except zlib.error as error:
            raise RequestError(400, f"the body is not gzip: {error}") from error
        room -= len(part)
        if room < 0:
            raise _too_large(max_bytes)
        if not member.eof:
            raise RequestError(400, "the gzip body is cut off")
        parts.append(part)
        rest = member.unused_data
    return b"".join(parts)


def _too_large(max_bytes: int) -> RequestError:
    return RequestError(413, f"the body has more than {max_bytes} bytes")
