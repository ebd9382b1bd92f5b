"""What a person sees while something takes long: lines on stderr with the time that has passed."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

Report = Callable[[str], None]

_WATCHED_SECONDS, _LOGGED_SECONDS = 5.0, 30.0


def interval_seconds() -> float:
    """Between two lines of waiting: a log is read later, and gets fewer of them than a terminal."""
    return _WATCHED_SECONDS if sys.stdout.isatty() and sys.stderr.isatty() else _LOGGED_SECONDS


def to_stderr(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def silent(message: str) -> None:
    del message


class Stopwatch:
    """Seconds since it was made, and whether it is time to say something again."""

    def __init__(self, interval: float | None = None) -> None:
        self._start = time.monotonic()
        self._interval = interval_seconds() if interval is None else interval
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
