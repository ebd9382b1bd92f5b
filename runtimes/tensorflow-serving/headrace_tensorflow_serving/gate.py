"""Lets predictions in, of both APIs: within bounds, counted while they are inside, and watched at the end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

from headrace_tensorflow_serving.codes import Code
from headrace_tensorflow_serving.failures import RequestError
from headrace_tensorflow_serving.metrics import Metrics


class Gate:
    def __init__(self, metrics: Metrics, max_in_flight: int) -> None:
        self._metrics = metrics
        self._max_in_flight = max_in_flight
        self._last_request = time.monotonic()
        self.is_draining = False

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """The time that a prediction is inside. Raises RequestError(UNAVAILABLE)."""
        self._last_request = time.monotonic()
        self._metrics.in_flight += 1
        try:
            if self._metrics.in_flight > self._max_in_flight:
                raise RequestError(
                    Code.UNAVAILABLE, f"the server answers {self._max_in_flight} requests already; try again"
                )
            yield
        finally:
            self._metrics.in_flight -= 1
            self._last_request = time.monotonic()

    def drain(self) -> None:
        """Not ready any more; requests are still let in, and each answer of REST asks the client to go elsewhere."""
        self.is_draining = True

    async def quiet(self, quiet_seconds: float, deadline_seconds: float) -> bool:
        """Wait until nobody is inside and nobody has come for `quiet_seconds`, at most until the deadline.

        False when somebody is inside even then.
        """
        deadline = time.monotonic() + deadline_seconds
        while self._metrics.in_flight or time.monotonic() - self._last_request < quiet_seconds:
            if time.monotonic() >= deadline:
                return self._metrics.in_flight == 0
            await asyncio.sleep(0.02)
        return True
