"""A queue of metrics on disk: what MLflow has not taken yet costs no memory, however long it is away. It may have a
bound, for what is not worth more of the disk.

One thread appends, another one reads from the front. In normal times the file is emptied every second.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from headrace_trainer.launcher.tracking.metrics import Metric


@dataclass(frozen=True)
class Batch:
    """Metrics from the front of the queue; `end` is where the next batch begins."""

    metrics: tuple[Metric, ...]
    end: int


class Spool:
    """A file of JSON lines, read from an offset on and truncated when all of it was taken."""

    def __init__(self, path: Path, most_bytes: int | None = None) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("w+b")
        self._lock = threading.Lock()
        self._most_bytes = most_bytes
        self._taken = 0
        self._end = 0

    @property
    def is_empty(self) -> bool:
        with self._lock:
            return self._taken == self._end

    def append(self, metrics: Iterable[Metric]) -> bool:
        """Put at the back; False where the file is full, until all of it was taken."""
        lines = b"".join(json.dumps([m.key, m.value, m.time, m.step]).encode() + b"\n" for m in metrics)
        with self._lock:
            if self._most_bytes is not None and self._end + len(lines) > self._most_bytes:
                return False
            self._file.seek(self._end)
            self._file.write(lines)
            self._file.flush()
            self._end += len(lines)
            return True

    def front(self, limit: int) -> Batch:
        """Up to `limit` metrics from the front; they stay until `take`."""
        with self._lock:
            self._file.seek(self._taken)
            lines: list[bytes] = []
            while len(lines) < limit and (line := self._file.readline()):
                lines.append(line)
            return Batch(tuple(Metric(*json.loads(line)) for line in lines), self._taken + sum(map(len, lines)))

    def copy(self, most: int) -> tuple[bytes, bool]:
        """The lines from the front, at most `most` bytes of them, and whether that is all; they stay."""
        with self._lock:
            self._file.seek(self._taken)
            data = self._file.read(min(most, self._end - self._taken))
            is_all = self._taken + len(data) == self._end
        return (data if is_all else data[: data.rfind(b"\n") + 1]), is_all

    def take(self, batch: Batch) -> None:
        """The batch has arrived where it was to go."""
        with self._lock:
            self._taken = batch.end
            if self._taken == self._end:
                self._file.truncate(0)
                self._taken = self._end = 0
