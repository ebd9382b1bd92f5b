"""Real servers on loopback ports for the tests of this folder: MLflow as the image runs it, versitygw with users."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from headrace_local import platform, ports
from headrace_local.platform import ADMIN, REGION, ROOT, VIEWER
from headrace_local.process import Process

__all__ = ["ADMIN", "REGION", "ROOT", "VIEWER"]


@pytest.fixture(scope="session")
def mlflow_port() -> int:
    return ports.free(1)[0]


@pytest.fixture(scope="session")
def store_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with platform.store(tmp_path_factory.mktemp("store"), ports.free(1)[0]) as url:
        yield url


@pytest.fixture(scope="session")
def mlflow_process(tmp_path_factory: pytest.TempPathFactory, store_url: str, mlflow_port: int) -> Iterator[Process]:
    with platform.mlflow(tmp_path_factory.mktemp("mlflow"), mlflow_port, store_url) as started:
        yield started


@pytest.fixture(scope="session")
def mlflow_url(mlflow_process: Process, mlflow_port: int) -> str:
    return f"http://127.0.0.1:{mlflow_port}"
