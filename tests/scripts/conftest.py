"""What runs the scripts of other people: an interpreter that has imported Keras, with the adapters and our servers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
RUNTIMES = HERE.parents[1] / "runtimes"
sys.path[:0] = [str(HERE), str(RUNTIMES / "trainer" / "tests"), str(RUNTIMES / "serving" / "tests")]

from forking import Interpreter  # noqa: E402


@pytest.fixture(scope="session")
def interpreter() -> Iterator[Interpreter]:
    packages = [RUNTIMES / name for name in ("trainer", "client", "tensorflow-serving", "serving")]
    forks = Interpreter([*packages, HERE])
    yield forks
    forks.close()
