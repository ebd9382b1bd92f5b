"""Locks between processes, held as long as a file is open: the kernel lets go of them when a process dies."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headrace_local.errors import LocalClusterError
from headrace_local.progress import Report, Stopwatch, silent


@contextmanager
def exclusive(path: Path, *, what: str, timeout: float, report: Report = silent) -> Iterator[None]:
    """Hold the lock at `path`; while somebody else has it, say every few seconds what is waited for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    watch = Stopwatch()
    with path.open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if watch.seconds > timeout:
                    raise LocalClusterError(
                        f"waited {timeout:.0f} s for another process that is {what}; it holds {path}"
                    ) from None
                if watch.is_due():
                    report(f"another process is {what}: waiting, {watch.seconds:.0f} s")
                time.sleep(0.2)
        yield
