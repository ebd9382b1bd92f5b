"""Reads what a pod serves over HTTP: bounded in time and size, and nowhere else than asked.

What answers may be anybody's code. It may send its answer in pieces, or without end, or pack much into little, or point
to an address that only the operator reaches.
"""

from __future__ import annotations

import logging

import aiohttp

TIMEOUT_SECONDS = 2.0
_CHUNK_BYTES = 64 * 1024

log = logging.getLogger(__name__)


async def read_bounded(
    http: aiohttp.ClientSession,
    url: str,
    max_bytes: int,
    *,
    posted: bytes | None = None,
    seconds: float = TIMEOUT_SECONDS,
) -> bytes | None:
    """The body of a 200 answer, to a GET or to what is `posted`; None for any other, for one that is longer than
    `max_bytes`, or none within so many seconds.
    """
    try:
        async with http.request(
            "GET" if posted is None else "POST",
            url,
            data=posted,
            timeout=aiohttp.ClientTimeout(total=seconds),
            allow_redirects=False,
            headers={"Accept-Encoding": "identity"},
            auto_decompress=False,
        ) as answer:
            if answer.status != 200:
                log.debug("%s: status %d", url, answer.status)
                return None
            body = bytearray()
            async for chunk in answer.content.iter_chunked(_CHUNK_BYTES):
                body += chunk
                if len(body) > max_bytes:
                    log.debug("%s: more than %d bytes", url, max_bytes)
                    return None
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        log.debug("%s: %s", url, error)
        return None
    return bytes(body)


def url_of(address: str, port: int, path: str) -> str:
    """The URL of a pod, by its IPv4 or IPv6 address."""
    host = f"[{address}]" if ":" in address else address
    return f"http://{host}:{port}{path}"
