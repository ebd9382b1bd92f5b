"""Fixtures of tests that train as a pod does and ask our servers: the launcher, MLflow and S3 of the trainer's own
tests, and an interpreter that has imported Keras, with the adapters and our servers. What such tests share lies in
tests/scripts, and is found.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

SCRIPTS = Path(__file__).resolve().parent / "scripts"
RUNTIMES = SCRIPTS.parents[1] / "runtimes"
sys.path[:0] = [str(SCRIPTS), str(RUNTIMES / "trainer" / "tests"), str(RUNTIMES / "serving" / "tests")]

from forking import Interpreter  # noqa: E402


def _of_the_trainer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("trainer_conftest", RUNTIMES / "trainer" / "tests" / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_trainer = _of_the_trainer()
launch, launchers, mlflow, s3 = _trainer.launch, _trainer.launchers, _trainer.mlflow, _trainer.s3


@pytest.fixture(scope="session")
def interpreter() -> Iterator[Interpreter]:
    packages = [RUNTIMES / name for name in ("trainer", "client", "tensorflow-serving", "serving")]
    forks = Interpreter([*packages, SCRIPTS])
    yield forks
    forks.close()
