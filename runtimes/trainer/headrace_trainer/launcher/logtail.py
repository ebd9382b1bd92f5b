"""The last lines of what the script printed, whole and readable, for the record.

A thread reads each of the script's two streams, so the order of two lines that came close together on different ones
is not known. That is why the cause of a failure is looked for in one of them: in stderr, where Python and most programs
say it, and else in stdout.
"""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from dataclasses import dataclass

from headrace_trainer.launcher.failures.place import without_kubelet
from headrace_trainer.launcher.texts import plain

STDOUT, STDERR = "stdout", "stderr"
_LINES = 40
_LINES_OF_A_STREAM = 400  # a traceback through libraries is long
_WIDTH = 400
# What TensorFlow says whenever it starts, which is not what a script ended with: information of these files of its own,
# and libraries that two parts of it register.
_AT_START = re.compile(
    r"WARNING: All log messages before absl::InitializeLog\(\) is called are written to STDERR"
    r"|[\d:. -]*I(?:\d{4})? .*(?<!\w)(?:port|cpu_feature_guard|gpu_device|cuda\w+|service|device_compiler)\.\w+:\d+\]"
    r"|[\d:. -]*[EWI](?:\d{4})? .*\.cc:\d+\] (?:Unable to register cu|Could not find cuda|computation placer already)"
    r"|To enable the following instructions: .*rebuild TensorFlow"
)
# With so much time between them, the order of two lines on different streams is certain.
_CERTAIN_SECONDS = 1.0


@dataclass
class _Line:
    """`rest` is what has come of a line whose end has not."""

    text: str = ""
    rest: bytes = b""


class _Stream:
    def __init__(self) -> None:
        self.lines: deque[_Line] = deque(maxlen=_LINES_OF_A_STREAM)
        self.open: _Line | None = None
        self.heard = 0.0

    def text(self) -> str:
        return _joined(self.lines)


class LogTail:
    """Fed by one thread a stream, read by the main thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lines: deque[_Line] = deque(maxlen=_LINES)  # of both streams
        self._streams: dict[str, _Stream] = {STDOUT: _Stream(), STDERR: _Stream()}

    def feed(self, stream: str, data: bytes) -> None:
        """Take what a stream printed. A line that comes in pieces stands where its first piece came."""
        with self._lock:
            of = self._streams[stream]
            of.heard = time.monotonic()
            *complete, rest = data.split(b"\n")
            for piece in complete[-_LINES_OF_A_STREAM - 1 :]:
                self._extend(of, piece)
                of.open = None
            if rest:
                self._extend(of, rest)

    def _extend(self, stream: _Stream, piece: bytes) -> None:
        if stream.open is None:
            stream.open = _Line()
            stream.lines.append(stream.open)
            self._lines.append(stream.open)
        line = stream.open
        line.rest = _shown(line.rest + piece)
        line.text = _readable(line.rest)

    def text(self) -> str:
        """The last lines of both streams."""
        with self._lock:
            return _joined(self._lines)

    def by_stream(self) -> tuple[str, ...]:
        """Where to look for the cause, in this order: in what stderr ends with and in what stdout does. Where stdout
        went on, stderr's words count only if they are among the last of both.
        """
        with self._lock:
            errors, output = self._streams[STDERR], self._streams[STDOUT]
            is_stale = errors.heard < output.heard - _CERTAIN_SECONDS
            texts = (output.text(), _joined(self._lines)) if is_stale else (errors.text(), output.text())
        return tuple(text for text in texts if text)


def _joined(lines: deque[_Line]) -> str:
    return "\n".join(line.text for line in lines if line.text and not _AT_START.match(line.text))


def _shown(line: bytes) -> bytes:
    """A progress bar rewrites its line with carriage returns: what was last to be seen counts. A return at the end has
    not yet taken anything away.
    """
    seen = line.rstrip(b"\r")
    return seen.rpartition(b"\r")[2][: 4 * _WIDTH] + line[len(seen) :][:1]


def _readable(line: bytes) -> str:
    return without_kubelet(plain(line.rstrip(b"\r").decode("utf-8", errors="replace")))[:_WIDTH]
