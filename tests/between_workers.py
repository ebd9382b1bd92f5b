"""What the workers of one test run know of each other, by files in the run's folder.

Two workers share the end-to-end tests' cluster: the first that needs it brings it up, the last that leaves takes it
down; what disturbs the whole cluster waits until the tests of all others have ended.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from headrace_local import locks
from headrace_local.progress import to_stderr

# A cluster whose parts are built from their sources, on a slow machine.
BUILD_SECONDS = 3600.0


# Of the end-to-end tests, the files of the second worker; the first one has all others.
SECOND = ("test_text", "test_canary", "test_explain", "test_own_server", "test_tensorflow_serving", "test_whole_way")
# And what disturbs the whole cluster, or looks at the whole machine: the second worker's, when all others have ended.
ALONE = ("test_local", "test_node", "test_outages", "test_upgrade")


def run_folder(config: pytest.Config) -> Path:
    """The same for all workers of a run, and of this run alone."""
    own: Path = config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@dataclass(frozen=True)
class Shared:
    """One thing that several workers use, known by its name in the run's folder."""

    folder: Path
    name: str

    def alone(self, doing: str) -> AbstractContextManager[None]:
        """One worker at a time."""
        return locks.exclusive(self.folder / f"{self.name}.lock", what=doing, timeout=BUILD_SECONDS, report=to_stderr)

    def once(self, do: Callable[[], None]) -> None:
        """By the first worker that gets here; the others wait for it. Raises for each what `do` raises for it."""
        with self.alone(f"making {self.name}"):
            if not self._made.exists():
                do()
                self._made.touch()

    def forget(self) -> None:
        """It is not there any more: the next worker makes it anew."""
        self._made.unlink(missing_ok=True)

    @property
    def _made(self) -> Path:
        return self.folder / f"{self.name}.made"

    @contextmanager
    def used(self, begin: Callable[[], None], end: Callable[[], None]) -> Iterator[None]:
        """Each worker that begins calls `begin`, one at a time, and the last that leaves calls `end`."""
        users = self.folder / f"{self.name}.users"
        me = users / uuid.uuid4().hex
        with self.alone(f"bringing up {self.name}"):
            begin()
            users.mkdir(exist_ok=True)
            me.touch()
        try:
            yield
        finally:
            with self.alone(f"leaving {self.name}"):
                me.unlink()
                if not any(users.iterdir()):
                    end()


class Ended:
    """The tests of some kind that have ended, counted by all workers."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "ended"

    def tell(self, test: str) -> None:
        with self._file.open("a") as file:
            file.write(f"{test}\n")  # one write of less than a page is whole

    def wait_for(self, tests: set[str], seconds: float) -> None:
        """Until all of these have ended; fails the test when they have not in time."""
        deadline = time.monotonic() + seconds
        while missing := tests - set(self._file.read_text().splitlines() if self._file.exists() else ()):
            if time.monotonic() > deadline:
                pytest.fail(f"waited {seconds:.0f} s for {len(missing)} tests of other workers: {sorted(missing)[:3]}")
            time.sleep(0.5)
