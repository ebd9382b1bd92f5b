"""The last lines of what the script printed, whole and readable, for the record."""

from __future__ import annotations

import re
import threading
from collections import deque

_LINES = 40
_WIDTH = 400
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")


class LogTail:
    """Fed by one thread a stream, read by the main thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lines: deque[str] = deque(maxlen=_LINES)
        self._open: dict[str, bytes] = {}

    def feed(self, stream: str, data: bytes) -> None:
        """Take what a stream printed; lines are put together across calls."""
        with self._lock:
            *complete, rest = (self._open.get(stream, b"") + data).split(b"\n")
            self._lines.extend(_readable(line) for line in complete[-_LINES:])
            self._open[stream] = rest[-4 * _WIDTH :]

    def text(self) -> str:
        """The last lines, the unfinished ones of each stream at the end."""
        with self._lock:
            lines = [*self._lines, *(_readable(rest) for rest in self._open.values())]
        return "\n".join(line for line in lines if line)


def _readable(line: bytes) -> str:
    """A progress bar rewrites its line with carriage returns: what was last to be seen counts."""
    shown = line.rstrip(b"\r").rpartition(b"\r")[2]
    return _CONTROL.sub("", shown.decode("utf-8", errors="replace"))[:_WIDTH]
