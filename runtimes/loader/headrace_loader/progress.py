"""How far a load is: for the pod's log, in lines that become fewer the longer it takes, and for the operator."""

from __future__ import annotations

import logging
import threading
import time

from headrace_common.protocol.loading import Loading
from headrace_loader.reading import Patience

log = logging.getLogger("headrace_loader")

_FIRST_LINE_SECONDS = 5.0
_LONGEST_SECONDS = 300.0
_MB = 1e6


class Progress:
    """Thread-safe. Seconds count from when it is made."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._turn = threading.Lock()
        self._total: int | None = None
        self._bytes = self.fetched_bytes = 0
        self._pause = _FIRST_LINE_SECONDS
        self._tell_at = self._began + self._pause
        self._patience: Patience | None = None

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def watch(self, patience: Patience) -> None:
        """Whoever reads now has this patience, and so knows what storage does."""
        self._patience = patience

    def begin(self, total: int, present: int) -> None:
        """So many bytes are wanted, and these are there."""
        with self._turn:
            self._total, self._bytes = total, present

    def add(self, size: int) -> None:
        """So many bytes have come."""
        with self._turn:
            self._bytes += size
            self.fetched_bytes += size
            if time.monotonic() < self._tell_at:
                return
            self._pause = min(self._pause * 2, _LONGEST_SECONDS)
            self._tell_at = time.monotonic() + self._pause
            done, total, rate = self._bytes, self._total or 0, self.fetched_bytes / self.seconds
        left = (total - done) / rate
        log.info("%.1f of %.1f MB, %.1f MB/s, about %.0f s left", done / _MB, total / _MB, rate / _MB, max(left, 0.0))

    def now(self) -> Loading:
        """As it is."""
        with self._turn:
            problem = self._patience.problem if self._patience is not None else ""
            return Loading(self._bytes, self._total, self.fetched_bytes, self.seconds, problem)
