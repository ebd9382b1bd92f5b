"""What the workers of one test run agree on while they share a cluster, by locks on files: the kernel lets go of them
when a worker dies.
"""

from __future__ import annotations

import fcntl
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

# Longer than the longest test with its fixtures, and than bringing the cluster up with all that it compiles.
PATIENCE = 3600.0


class Sharing:
    """One thing that several processes use, known by its name."""

    def __init__(self, name: str) -> None:
        self._folder = Path(tempfile.gettempdir()) / f"headrace-tests-{name}"
        self._folder.mkdir(exist_ok=True)

    @contextmanager
    def alone(self, what: str) -> Iterator[None]:
        """Nobody else is at `what` meanwhile."""
        with self._file(what) as file:
            _lock(file, fcntl.LOCK_EX)
            yield

    @contextmanager
    def together(self, what: str) -> Iterator[None]:
        """Nobody is alone at `what` meanwhile."""
        with self._file(what) as file:
            _lock(file, fcntl.LOCK_SH)
            yield

    @contextmanager
    def in_turn(self, what: str, *, alone: bool) -> Iterator[None]:
        """As `alone` or `together`; who is to be alone does not wait for ever for others that come and go."""
        with self._file(what) as file:
            with self.alone(f"{what}-turn"):  # held while waiting: who comes later is behind
                _lock(file, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
            yield

    @contextmanager
    def leave_last(self, what: str) -> Iterator[bool]:
        """Whether nobody is at `what` any more; nobody comes meanwhile."""
        with self._file(what) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True

    def is_first(self, what: str, run: str) -> bool:
        """Whether nobody has asked so in this run; to be asked while `alone`."""
        mark = self._folder / f"{what}.run"
        if mark.exists() and mark.read_text() == run:
            return False
        mark.write_text(run)
        return True

    def remove(self) -> None:
        """Forget it; nobody uses it any more."""
        shutil.rmtree(self._folder)

    def _file(self, what: str) -> IO[str]:
        return (self._folder / f"{what}.lock").open("a")


def _lock(file: IO[str], kind: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            assert time.monotonic() < deadline, f"{file.name} is held by another process for {PATIENCE:.0f} s"
            time.sleep(0.1)
