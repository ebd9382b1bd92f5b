"""Fixtures of tests that train as a pod does and ask our servers: the launcher, MLflow, S3 and the interpreter that has
imported Keras, those of the trainer's own tests. What such tests share lies in tests/scripts, and is found.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

SCRIPTS = Path(__file__).resolve().parent / "scripts"
RUNTIMES = SCRIPTS.parents[1] / "runtimes"
sys.path[:0] = [str(SCRIPTS), str(RUNTIMES / "trainer" / "tests"), str(RUNTIMES / "serving" / "tests")]


def _of_the_trainer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("trainer_conftest", RUNTIMES / "trainer" / "tests" / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_trainer = _of_the_trainer()
interpreter, launch, launchers = _trainer.interpreter, _trainer.launch, _trainer.launchers
train = _trainer.train
mlflow, s3 = _trainer.mlflow, _trainer.s3
