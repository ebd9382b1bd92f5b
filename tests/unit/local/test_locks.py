"""One process at a time; the next one says what it waits for, and does not wait for ever."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace_local import locks
from headrace_local.errors import LocalClusterError

Held = tuple[Path, subprocess.Popen[str]]

HOLD = """
import sys, time
from pathlib import Path
from headrace_local import locks
with locks.exclusive(Path(sys.argv[1]), what="testing", timeout=1):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Held]:
    path = tmp_path / "lock"
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield path, process
    process.kill()
    process.wait(timeout=10)


def test_waiting_ends_with_an_error_that_names_the_lock_and_what_for(held: Held) -> None:
    path, _ = held
    with (
        pytest.raises(LocalClusterError, match=f"(?s)testing.*{path}"),
        locks.exclusive(path, what="testing", timeout=0.3),
    ):
        pass


def test_a_killed_holder_lets_go(held: Held) -> None:
    path, process = held
    os.kill(process.pid, 9)
    with locks.exclusive(path, what="testing", timeout=10):
        pass
