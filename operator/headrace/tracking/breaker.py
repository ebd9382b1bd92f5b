"""A circuit breaker: after a call that was never answered nobody waits for the same server again, but one at a time.

Closed, every call goes through. A call without an answer in time opens it: for `open_seconds` calls are refused at
once. Then one call is let through to try; its answer closes the breaker, its silence opens it again. Quick failures do
not open it: they keep nobody waiting. (The pattern: M. Nygard, Release It!)
"""

from __future__ import annotations

import time
from collections.abc import Callable

OPEN_SECONDS = 5.0


class Breaker:
    """Of one server. `clock` in seconds, monotonic."""

    def __init__(self, *, open_seconds: float | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._open_seconds = OPEN_SECONDS if open_seconds is None else open_seconds
        self._clock = clock
        self._open_until: float | None = None
        self._is_trying = False

    def admits(self) -> bool:
        """Whether a call may be made now; who gets True has to say how it ended."""
        if self._open_until is None:
            return True
        if self._is_trying or self._clock() < self._open_until:
            return False
        self._is_trying = True
        return True

    def answered(self) -> None:
        """The server answered, whatever it said."""
        self._open_until, self._is_trying = None, False

    def silent(self) -> None:
        """The call was not answered in time."""
        self._open_until, self._is_trying = self._clock() + self._open_seconds, False

    def given_up(self) -> None:
        """The caller did not wait for an answer: nothing is known."""
        self._is_trying = False
