"""Real servers on loopback ports for the tests of this folder: MLflow as the image runs it, versitygw with users."""

from __future__ import annotations

import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from headrace_local import binaries, ports
from headrace_local.process import Process

REPOSITORY = Path(__file__).resolve().parents[3]
START_SECONDS = 300.0

ADMIN = ("admin", "administrator-of-mlflow")
ROOT = ("root-access-key", "root-secret-key")
VIEWER = ("headrace-viewer", "viewer-secret-key")
REGION = "us-east-1"


@contextmanager
def server(command: list[str], environment: dict[str, str], health: str, log: Path) -> Iterator[Process]:
    """A server from the time it is healthy to the end of the block; it goes too when the tests are killed."""
    started = Process(command, log, environment)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _answers(health):
            assert started.is_running(), f"{command[0]} ended: {log.read_text()[-2000:]}"
            assert time.monotonic() < deadline, f"{command[0]} is not healthy: {log.read_text()[-2000:]}"
            time.sleep(0.1)
        yield started
    finally:
        started.kill()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


@pytest.fixture(scope="session")
def mlflow_port() -> int:
    return ports.free(1)[0]


@pytest.fixture(scope="session")
def store_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("store")
    for name in ("objects", "iam"):
        (folder / name).mkdir()
    (port,) = ports.free(1)
    environment = {
        "ROOT_ACCESS_KEY_ID": ROOT[0],
        "ROOT_SECRET_ACCESS_KEY": ROOT[1],
        "VGW_PORT": f"127.0.0.1:{port}",
        "VGW_REGION": REGION,
        "VGW_IAM_DIR": str(folder / "iam"),
        "VGW_HEALTH": "/_/health",
        "VGW_QUIET": "true",
    }
    command = [str(binaries.ensure().path("versitygw")), "posix", str(folder / "objects")]
    url = f"http://127.0.0.1:{port}"
    with server(command, environment, f"{url}/_/health", folder / "log"):
        yield url


@pytest.fixture(scope="session")
def mlflow_process(tmp_path_factory: pytest.TempPathFactory, store_url: str, mlflow_port: int) -> Iterator[Process]:
    folder = tmp_path_factory.mktemp("mlflow")
    environment = {
        "PYTHONPATH": str(REPOSITORY / "runtimes" / "mlflow"),
        "HEADRACE_MLFLOW_DATA": str(folder),
        "MLFLOW_HOST": "127.0.0.1",
        "MLFLOW_PORT": str(mlflow_port),
        "MLFLOW_AUTH_ADMIN_USERNAME": ADMIN[0],
        "MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN[1],
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "for-tests",
        "MLFLOW_S3_ENDPOINT_URL": store_url,
        "AWS_ACCESS_KEY_ID": VIEWER[0],
        "AWS_SECRET_ACCESS_KEY": VIEWER[1],
        "AWS_DEFAULT_REGION": REGION,
    }
    command = [sys.executable, "-m", "headrace_mlflow"]
    with server(command, environment, f"http://127.0.0.1:{mlflow_port}/health", folder / "log") as started:
        yield started


@pytest.fixture(scope="session")
def mlflow_url(mlflow_process: Process, mlflow_port: int) -> str:
    return f"http://127.0.0.1:{mlflow_port}"
