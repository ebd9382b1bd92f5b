"""Bounds the bytes of requests that a server holds at a time, those of all its ports together.

Room that slow senders hold is not taken from others: where there is none left, the bodies that have been under way the
longest are given up.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import takewhile
from threading import Lock

from headrace_serving.failures import IncompleteError, RequestError

# A body that is under way for less is given up for nobody.
SLOW_SECONDS = 1.0


class Buffers:
    """May be used from any thread: bodies are unpacked off the event loop."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._free = max_bytes
        self._lock = Lock()
        # In the order in which they began.
        self._under_way: dict[Share, None] = {}

    @property
    def taken(self) -> int:
        """Bytes that all requests hold now."""
        return self._max_bytes - self._free

    @contextmanager
    def share(self) -> Iterator[Share]:
        """The room that one request takes, given back when the request is done."""
        share = Share(self)
        try:
            yield share
        finally:
            with self._lock:
                self._close(share)

    def take(self, share: Share, size: int) -> None:
        with self._lock:
            if share.given_up is not None:
                raise share.given_up
            # A thread may still work for a request whose room was given back.
            if not share.is_open or not self._has_room(share, size):
                raise RequestError(503, "the server holds as many bytes of requests as it may; try again")
            self._free -= size
            share.taken += size

    def begin(self, share: Share) -> None:
        with self._lock:
            self._under_way[share] = None

    def end(self, share: Share) -> None:
        with self._lock:
            self._under_way.pop(share, None)

    def _has_room(self, share: Share, size: int) -> bool:
        """Room is made where that helps: by those that began before `share`, if it is under way itself."""
        if size <= self._free:
            return True
        latest = time.monotonic() - SLOW_SECONDS
        slow = list(takewhile(lambda other: other is not share and other.began <= latest, self._under_way))
        if self._free + sum(other.taken for other in slow) < size:
            return False
        for other in slow:
            if size <= self._free:
                break
            if other.taken:
                other.given_up = IncompleteError(408, "the body took long, and the server needs its room for others")
                self._close(other)
                other.give_up()
        return True

    def _close(self, share: Share) -> None:
        self._under_way.pop(share, None)
        self._free += share.taken
        share.taken = 0
        share.is_open = False


class Share:
    """What one request has taken of the room for all."""

    def __init__(self, buffers: Buffers) -> None:
        self._buffers = buffers
        self.began = time.monotonic()
        self.taken = 0
        self.is_open = True
        self.given_up: IncompleteError | None = None
        self.give_up: Callable[[], object]

    def take(self, size: int) -> None:
        """Raises RequestError(503), IncompleteError(408)."""
        self._buffers.take(self, size)

    @contextmanager
    def under_way(self, give_up: Callable[[], object]) -> Iterator[None]:
        """The time in which the body comes; `give_up`, called from any thread, ends it early."""
        self.give_up = give_up
        self._buffers.begin(self)
        try:
            yield
        finally:
            self._buffers.end(self)
