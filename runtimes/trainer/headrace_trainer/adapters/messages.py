"""Messages to the launcher: one JSON object a line, written to a pipe by a thread of its own.

What the launcher would not read is made smaller and never left out: many metrics go in several messages, long texts
lose their middle.

`send` never blocks (a launcher that is busy must not hold up a training step) and may be called from a signal handler:
`queue.SimpleQueue.put` is reentrant.
"""

from __future__ import annotations

import json
import os
import queue
import threading
import time
from collections.abc import Mapping
from typing import Any

from headrace_common.json_numbers import to_json
from headrace_trainer.adapters.streams import say

_CLOSE_SECONDS = 5.0
_MAX_LINE = 64 * 1024  # bytes that the launcher reads of one, with its end
_MAX_METRICS = 100  # in one
_MAX_NAME = 128  # characters of a metric's name that MLflow gets


def milliseconds() -> int:
    """The time now in milliseconds since 1970, as every message has it."""
    return time.time_ns() // 1_000_000


def in_json(metrics: Mapping[str, float]) -> dict[str, float | str]:
    """Metrics as JSON can hold them: NaN and infinities by name."""
    return {name: to_json(value) for name, value in metrics.items()}


class Messages:
    """The child's end of the pipe; without a descriptor every message is dropped."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor
        self.evaluated: set[str] = set()  # the names of what evaluations were told to have measured
        self._queue: queue.SimpleQueue[bytes | threading.Event] = queue.SimpleQueue()
        if descriptor is not None:
            os.set_inheritable(descriptor, False)
            os.register_at_fork(after_in_child=self._drop)
            threading.Thread(target=self._write_all, name="headrace-messages", daemon=True).start()

    def send(self, message_type: str, /, **fields: Any) -> None:
        """Queues a message of a type."""
        if message_type == "evaluate":
            self.evaluated.update(fields["metrics"])
        if self._descriptor is not None:
            for part in _parts(fields):
                self._queue.put(_line({"type": message_type, **part}))

    def warn(self, subject: str, message: str) -> None:
        """Something that a user may not expect, for the log and the run."""
        if self._descriptor is None:
            say(f"headrace: {subject}: {message}")
        self.send("warning", subject=subject, message=message)

    def flush(self, timeout: float = _CLOSE_SECONDS) -> bool:
        """Waits until all that was sent has been written; False after `timeout` seconds."""
        if self._descriptor is None:
            return True
        written = threading.Event()
        self._queue.put(written)
        return written.wait(timeout)

    def _drop(self) -> None:
        """A forked process has no thread that writes, and what it does is not the script's training."""
        self._descriptor = None

    def _write_all(self) -> None:
        assert self._descriptor is not None
        launcher_listens = True
        while True:
            item = self._queue.get()
            if isinstance(item, threading.Event):
                item.set()
            elif launcher_listens:
                launcher_listens = _write(self._descriptor, item)


def _parts(fields: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The message, or the same with some of its metrics each."""
    metrics = list(fields.get("metrics", {}).items())
    if len(metrics) <= _MAX_METRICS:
        return [fields]
    starts = range(0, len(metrics), _MAX_METRICS)
    return [{**fields, "metrics": dict(metrics[start : start + _MAX_METRICS])} for start in starts]


def _line(message: dict[str, Any]) -> bytes:
    if "metrics" in message:
        message["metrics"] = {name[:_MAX_NAME]: value for name, value in message["metrics"].items()}
    while len(line := _encode(message)) >= _MAX_LINE:
        longest = max(
            (name for name, value in message.items() if isinstance(value, str | list)), key=lambda n: len(message[n])
        )
        if isinstance(message[longest], list):
            message[longest] = message[longest][: len(message[longest]) // 2]
            continue
        text = message[longest]
        kept = len(text) // 4
        message[longest] = f"{text[:kept]} [...] {text[-kept:]}"
    return line


def _encode(message: Mapping[str, Any]) -> bytes:
    """A line. At most four bytes a character: a hundred names of metrics fit into one."""
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode(errors="replace") + b"\n"


def _write(descriptor: int, line: bytes) -> bool:
    """Writes all of `line`; False when the reader is gone (training goes on: its launcher decides about its end)."""
    while line:
        try:
            line = line[os.write(descriptor, line) :]
        except BrokenPipeError:
            return False
    return True
