"""How long a place may be away before a dataset is given up."""

from __future__ import annotations

import time
from dataclasses import dataclass

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 10.0


@dataclass
class Waiting:
    """For so many seconds without anything new, with growing pauses between two tries."""

    seconds: float
    _pause: float = _FIRST_PAUSE
    _away_since: float | None = None
    _furthest: int = 0

    @classmethod
    def for_all(cls, seconds: float) -> Waiting:
        """For so many seconds from now, whatever comes: somebody waits for the whole."""
        return cls(seconds, _away_since=time.monotonic())

    def came(self, had: int) -> None:
        """So many bytes are there. What came before, and comes again after a break, is nothing new."""
        if had > self._furthest:
            self._furthest, self._pause, self._away_since = had, _FIRST_PAUSE, None

    def is_past(self) -> bool:
        """Whether what still comes, comes too late."""
        return self._away_since is not None and time.monotonic() > self._away_since + self.seconds

    def is_over(self) -> bool:
        """Else it has waited for a while."""
        now = time.monotonic()
        self._away_since = now if self._away_since is None else self._away_since
        if now + self._pause > self._away_since + self.seconds:
            return True
        time.sleep(self._pause)
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)
        return False
