"""What a person sees while something takes long: lines on stderr with the time that has passed."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

Report = Callable[[str], None]

INTERVAL_SECONDS = 5.0


def to_stderr(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def silent(message: str) -> None:
    del message


class Stopwatch:
    """Seconds since it was made, and whether it is time to say something again."""

    def __init__(self, interval: float = INTERVAL_SECONDS) -> None:
        self._start = time.monotonic()
        self._interval = interval
        self._last = self._start

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._start

    def is_due(self) -> bool:
        now = time.monotonic()
        if now - self._last < self._interval:
            return False
        self._last = now
        return True
