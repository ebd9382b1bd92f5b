"""Lets requests to the model in, of all ports: within bounds, counted while they are inside, and watched at the end.

A request is inside when its body is there: however many are slow to send theirs, they take nobody's place.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

from headrace_serving.failures import RequestError


class Gate:
    """All of it is used on the event loop. `in_flight` is how many are inside, `arriving` how many send a body, and
    `full` the status of whom there is no place for.
    """

    def __init__(self, max_in_flight: int, full: int = 503) -> None:
        self._max_in_flight = max_in_flight
        self._full = full
        self._last_request = time.monotonic()
        self.arriving = 0
        self.in_flight = 0
        self.is_draining = False

    @contextmanager
    def arrival(self) -> Iterator[None]:
        """The time in which a request's body comes. Raises RequestError where there is no place even now."""
        self._require_place()
        self._last_request = time.monotonic()
        self.arriving += 1
        try:
            yield
        finally:
            self.arriving -= 1
            self._last_request = time.monotonic()

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """The time that a request is inside. Raises RequestError."""
        self._require_place()
        self._last_request = time.monotonic()
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1
            self._last_request = time.monotonic()

    def _require_place(self) -> None:
        if self.in_flight >= self._max_in_flight:
            raise RequestError(self._full, f"the server answers {self._max_in_flight} requests already; try again")

    def drain(self) -> None:
        """Not ready any more; requests are still let in, and each answer of HTTP asks the client to go elsewhere."""
        self.is_draining = True

    async def quiet(self, quiet_seconds: float, deadline_seconds: float) -> bool:
        """Wait until nobody is inside or sends, and nobody has come for `quiet_seconds`, at most until the deadline.

        False when somebody is inside or sends even then.
        """
        deadline = time.monotonic() + deadline_seconds
        while self.in_flight or self.arriving or time.monotonic() - self._last_request < quiet_seconds:
            if time.monotonic() >= deadline:
                return not (self.in_flight or self.arriving)
            await asyncio.sleep(0.02)
        return True
