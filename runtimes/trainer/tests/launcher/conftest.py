"""Fixtures of the launcher's tests: any program (`framework: Script`) that finds the client library, and all that it
may need outside of its pod.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Callable
from typing import Any

import pytest
from trainer_support import ACCESS_KEY, CLIENT, S3, SECRET_KEY, TRAINER, Launched, Mlflow

from headrace_common.protocol.storage import Storage
from headrace_trainer.launcher.store.s3 import Store

Program = Callable[..., Launched]


@pytest.fixture
def store(s3: S3, monkeypatch: pytest.MonkeyPatch) -> Store:
    """What a launcher reads the store with, in the test's own process."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    return Store(Storage(s3.endpoint, "us-east-1"))


@pytest.fixture
def program(launch: Callable[..., Launched]) -> Program:
    """Starts the launcher with a program; `config` and `env` add to what every program has, the rest is `launch`'s."""

    def start(
        script: str, *, config: dict[str, Any] | None = None, env: dict[str, str] | None = None, **rest: Any
    ) -> Launched:
        paths = os.pathsep.join([str(TRAINER), str(CLIENT)])
        return launch(
            textwrap.dedent(script),
            config={"framework": "Script", **(config or {})},
            env={"PYTHONPATH": paths, **(env or {})},
            **rest,
        )

    return start


@pytest.fixture
def outside(s3: S3, mlflow: Mlflow) -> tuple[str, dict[str, Any]]:
    """A bucket, and the configuration that names it: storage, tracking, checkpoints, and a model wanted as ONNX."""
    bucket = s3.bucket()
    return bucket, {
        "storage": {"endpoint": s3.endpoint, "region": "us-east-1"},
        "tracking": mlflow.experiment("program", f"s3://{bucket}/artifacts"),
        "checkpoint": {"uri": f"s3://{bucket}/checkpoints", "intervalSeconds": 10, "keep": 3},
        "output": {"formats": ["ONNX"]},
    }
