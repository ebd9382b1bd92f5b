"""A checkpoint that was taken and waits for the steps after it, with which a resume is compared.

It is in memory only. The thread that ends the process hands it over, too, where those steps do not come in time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from headrace_trainer.adapters.checkpoint import Snapshot, Writer
from headrace_trainer.adapters.stopping import Stop

STEPS = 2


class Pending:
    """At most one. Without a writer (of a worker that is not the chief) what is taken is dropped."""

    def __init__(self, writer: Writer | None, stop: Stop) -> None:
        self._writer = writer
        self._stop = stop
        self._snapshot: Snapshot | None = None
        self._finished = 0
        self._changing = threading.Lock()

    @property
    def is_there(self) -> bool:
        return self._snapshot is not None

    def take(self, make: Callable[[], Snapshot | None], finished: int) -> None:
        """What `make` copies, with the ends of `finished` fits before; nothing where the process is already ending."""
        with self._changing:
            if not self._stop.is_leaving:
                self._snapshot, self._finished = make(), finished

    def complete(self, step: int, metrics: Mapping[str, float]) -> bool:
        """Adds a step after it; whether there are enough now."""
        with self._changing:
            if self._snapshot is None:
                return False
            self._snapshot.replay[step] = dict(metrics)
            return len(self._snapshot.replay) >= STEPS

    def drop(self) -> None:
        """There is a newer state than this one."""
        with self._changing:
            self._snapshot = None

    def hand_over(self) -> None:
        """Gives it to the writer, once, in whatever thread. A copy that waits for other workers may never be there."""
        if not self._changing.acquire(timeout=self._stop.patience):
            return
        try:
            snapshot, self._snapshot = self._snapshot, None
            if snapshot is not None and self._writer is not None:
                self._writer.submit(snapshot, self._finished)
        finally:
            self._changing.release()
