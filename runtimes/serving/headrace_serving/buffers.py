"""Bounds the bytes of requests that a server holds at a time, those of all its ports together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from headrace_serving.failures import RequestError


class Buffers:
    """May be used from any thread: bodies are unpacked off the event loop."""

    def __init__(self, max_bytes: int) -> None:
        self._free = max_bytes
        self._lock = Lock()

    @contextmanager
    def share(self) -> Iterator[Share]:
        """The room that one request takes, given back when the request is done."""
        share = Share(self)
        try:
            yield share
        finally:
            with self._lock:
                self._free += share.taken
                share.is_open = False

    def take(self, share: Share, size: int) -> None:
        with self._lock:
            # A thread may still work for a request that was given up, and whose room was given back.
            if not share.is_open or size > self._free:
                raise RequestError(503, "the server holds as many bytes of requests as it may; try again")
            self._free -= size
            share.taken += size


class Share:
    """What one request has taken of the room for all."""

    def __init__(self, buffers: Buffers) -> None:
        self._buffers = buffers
        self.taken = 0
        self.is_open = True

    def take(self, size: int) -> None:
        """Raises RequestError(503)."""
        self._buffers.take(self, size)
