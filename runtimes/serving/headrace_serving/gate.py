"""Lets requests to the model in, of all ports: within bounds, counted while they are inside, and watched at the end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

from headrace_serving.failures import RequestError


class Gate:
    """All of it is used on the event loop. `in_flight` is how many are inside."""

    def __init__(self, max_in_flight: int) -> None:
        self._max_in_flight = max_in_flight
        self._last_request = time.monotonic()
        self.in_flight = 0
        self.is_draining = False

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """The time that a request is inside. Raises RequestError(503)."""
        self._last_request = time.monotonic()
        self.in_flight += 1
        try:
            if self.in_flight > self._max_in_flight:
                raise RequestError(503, f"the server answers {self._max_in_flight} requests already; try again")
            yield
        finally:
            self.in_flight -= 1
            self._last_request = time.monotonic()

    def drain(self) -> None:
        """Not ready any more; requests are still let in, and each answer of HTTP asks the client to go elsewhere."""
        self.is_draining = True

    async def quiet(self, quiet_seconds: float, deadline_seconds: float) -> bool:
        """Wait until nobody is inside and nobody has come for `quiet_seconds`, at most until the deadline.

        False when somebody is inside even then.
        """
        deadline = time.monotonic() + deadline_seconds
        while self.in_flight or time.monotonic() - self._last_request < quiet_seconds:
            if time.monotonic() >= deadline:
                return self.in_flight == 0
            await asyncio.sleep(0.02)
        return True
