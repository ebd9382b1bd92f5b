"""Messages to the launcher: one JSON object a line, into the named pipe that HEADRACE_MESSAGES names.

A pipe with a name, and not an inherited one: whatever the script starts can write to it, also a shell (`echo`).
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import time
from typing import Any

MAX_LINE = 64 * 1024


def in_job() -> bool:
    """Whether this process runs in a pod of Headrace's."""
    return bool(os.environ.get("HEADRACE_MESSAGES"))


def send(kind: str, **fields: Any) -> None:
    """Nothing happens where nobody listens. Raises ValueError for a message that is too long."""
    path = os.environ.get("HEADRACE_MESSAGES")
    if not path:
        return
    line = json.dumps({"type": kind, **fields}, separators=(",", ":"), allow_nan=False).encode() + b"\n"
    if len(line) >= MAX_LINE:
        raise ValueError(f"a message of {len(line)} bytes; at most {MAX_LINE} fit: log fewer metrics at once")
    try:
        pipe = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:  # the launcher has ended, or is not there yet
        return
    with os.fdopen(pipe, "wb", buffering=0) as file:
        os.set_blocking(pipe, True)
        fcntl.flock(pipe, fcntl.LOCK_EX)  # lines of several processes do not mix
        while line:
            line = line[file.write(line) or 0 :]


def number(value: Any) -> float | str:
    """A metric's value as JSON can hold it: NaN and infinities by name. Raises TypeError for what is no number."""
    found = float(value)
    if math.isfinite(found):
        return found
    return "NaN" if math.isnan(found) else "Infinity" if found > 0 else "-Infinity"


def now() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000
