"""Reads the body of a REST request within bounds: its own size, and unpacked."""

from __future__ import annotations

import zlib

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from headrace_tensorflow_serving.buffers import Share
from headrace_tensorflow_serving.codes import Code
from headrace_tensorflow_serving.failures import RequestError

_GZIP_WINDOW = 16 + zlib.MAX_WBITS


async def read(request: web.BaseRequest, share: Share, max_bytes: int) -> bytes:
    """The body as it was sent. Raises RequestError: CANCELLED, INVALID_ARGUMENT (413 when too large), UNAVAILABLE."""
    if (request.content_length or 0) > max_bytes:
        raise _too_large(max_bytes)
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # Not part of the answer: without this aiohttp takes the headers for sent.
        request.writer.output_size = 0
    chunks: list[bytes] = []
    size = 0
    while chunk := await _next(request):
        size += len(chunk)
        if size > max_bytes:
            raise _too_large(max_bytes)
        share.take(len(chunk))
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def unpack(body: bytes, encoding: str, share: Share, max_bytes: int) -> bytes:
    """The body without its Content-Encoding. Raises RequestError: INVALID_ARGUMENT (413, 415), UNAVAILABLE."""
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "x-gzip"):
        raise RequestError(
            Code.INVALID_ARGUMENT, f"Content-Encoding {encoding!r} is not supported; gzip is", http_status=415
        )
    unpacked = _gunzip(body, max_bytes)
    share.take(len(unpacked))
    return unpacked


async def _next(request: web.BaseRequest) -> bytes:
    try:
        return await request.content.readany()
    except ConnectionError as error:
        raise RequestError(Code.CANCELLED, "the client went away") from error
    except (HttpProcessingError, web.RequestPayloadError) as error:
        raise RequestError(Code.INVALID_ARGUMENT, "the body is not what its headers say") from error


def _gunzip(body: bytes, max_bytes: int) -> bytes:
    parts: list[bytes] = []
    room = max_bytes
    rest = body
    while rest:
        member = zlib.decompressobj(_GZIP_WINDOW)
        try:
            part = member.decompress(rest, room + 1)
        except zlib.error as error:
            raise RequestError(Code.INVALID_ARGUMENT, f"the body is not gzip: {error}") from error
        room -= len(part)
        if room < 0:
            raise _too_large(max_bytes)
        if not member.eof:
            raise RequestError(Code.INVALID_ARGUMENT, "the gzip body is cut off")
        parts.append(part)
        rest = member.unused_data
    return b"".join(parts)


def _too_large(max_bytes: int) -> RequestError:
    return RequestError(Code.INVALID_ARGUMENT, f"the body has more than {max_bytes} bytes", http_status=413)
