"""Messages to the launcher: one JSON object a line, into the named pipe that HEADRACE_MESSAGES names.

A pipe with a name, and not an inherited one: whatever the script starts can write to it, also a shell (`echo`).
"""

from __future__ import annotations

import fcntl
import json
import math
import operator
import os
import time
from typing import Any, SupportsIndex

MAX_LINE = 64 * 1024
_LOCK_SECONDS = 5.0


def in_job() -> bool:
    """Whether this process runs in a pod of Headrace's."""
    return bool(os.environ.get("HEADRACE_MESSAGES"))


def variable(name: str) -> str | None:
    """What the launcher has set for the script; None outside of a pod."""
    return (os.environ.get(name) or None) if in_job() else None


def leads() -> bool:
    """Whether this process is the one of its gang that is listened to: the first one of the first pod (rank 0)."""
    return (os.environ.get("HEADRACE_WORKER_INDEX") or "0", os.environ.get("LOCAL_RANK") or "0") == ("0", "0")


def to_write(name: str) -> str | None:
    """A folder of the launcher's for what is kept; None outside of a pod, and where it is another process's to do."""
    return variable(name) if leads() else None


def send(kind: str, **fields: Any) -> None:
    """Nothing happens where nobody listens. Raises ValueError for a message that is too long."""
    path = to_write("HEADRACE_MESSAGES")
    if path is None:
        return
    line = json.dumps({"type": kind, **fields}, separators=(",", ":"), allow_nan=False).encode() + b"\n"
    if len(line) >= MAX_LINE:
        raise ValueError(f"a message of {len(line)} bytes: less than {MAX_LINE} are read")
    try:
        pipe = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:  # the launcher has ended
        return
    try:
        os.set_blocking(pipe, True)
        _lock(pipe)
        while line:
            line = line[os.write(pipe, line) :]
    except BrokenPipeError:
        return
    finally:
        # Not by closing alone: a process that was forked meanwhile has the same lock.
        fcntl.flock(pipe, fcntl.LOCK_UN)
        os.close(pipe)


def _lock(pipe: int) -> None:
    """Lines of several processes do not mix. One that was stopped while it wrote is not waited for for ever."""
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(pipe, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                return
            time.sleep(0.005)


def number(value: Any) -> float | str:
    """A metric's value as JSON can hold it: NaN and infinities by name. Raises TypeError or ValueError for what is no
    number.
    """
    try:
        found = float(value)
    except OverflowError:
        found = math.inf if value > 0 else -math.inf
    if math.isfinite(found):
        return found
    return "NaN" if math.isnan(found) else "Infinity" if found > 0 else "-Infinity"


def count(name: str, value: SupportsIndex, least: int) -> int:
    """A step or an epoch, of whatever whole type. Raises TypeError for what is not whole, ValueError for too few."""
    found = operator.index(value)
    if found < least:
        raise ValueError(f"{name} {found}: it is counted from {least}")
    return found


def now() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000
