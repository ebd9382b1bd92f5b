"""MLflow as its image runs it, an S3 store with users, and the operator, as plain processes on loopback ports: for
tests and benches that need no cluster. They go with the thread that started them.
"""

from __future__ import annotations

import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from headrace_local import binaries, paths
from headrace_local.errors import LocalClusterError
from headrace_local.process import Process
from headrace_local.runtimes import serving_runtimes

ADMIN = ("admin", "administrator-of-mlflow")
ROOT = ("root-access-key", "root-secret-key")
VIEWER = ("headrace-viewer", "viewer-secret-key")
REGION = "us-east-1"

_START_SECONDS = 300.0
_LOG_TAIL = 2000


@contextmanager
def store(folder: Path, port: int) -> Iterator[str]:
    """versitygw with its files in `folder`; its URL. `ROOT` are its first credentials."""
    for name in ("objects", "iam"):
        (folder / name).mkdir()
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
    with _server(command, environment, f"{url}/_/health", folder / "log"):
        yield url


def mlflow_environment(data: Path, store_url: str, database_uri: str) -> dict[str, str]:
    """What the chart gives MLflow: a folder for its databases, or the URI of one."""
    database = {"MLFLOW_BACKEND_STORE_URI": database_uri} if database_uri else {"HEADRACE_MLFLOW_DATA": str(data)}
    return {
        **database,
        "MLFLOW_AUTH_ADMIN_USERNAME": ADMIN[0],
        "MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN[1],
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "for-tests",
        "MLFLOW_SERVER_ALLOWED_HOSTS": "127.0.0.1:*",
        "MLFLOW_S3_ENDPOINT_URL": store_url,
        "AWS_ACCESS_KEY_ID": VIEWER[0],
        "AWS_SECRET_ACCESS_KEY": VIEWER[1],
        "AWS_DEFAULT_REGION": REGION,
    }


@contextmanager
def mlflow(folder: Path, port: int, store_url: str = "", database_uri: str = "") -> Iterator[Process]:
    """MLflow at http://127.0.0.1:PORT with its log in `folder`, and its databases unless there is a URI of one; `ADMIN`
    may do everything.
    """
    environment = {
        **mlflow_environment(folder, store_url, database_uri),
        "PYTHONPATH": str(paths.REPOSITORY / "runtimes" / "mlflow"),
        "MLFLOW_HOST": "127.0.0.1",
        "MLFLOW_PORT": str(port),
    }
    command = [sys.executable, "-m", "headrace_mlflow"]
    with _server(command, environment, f"http://127.0.0.1:{port}/health", folder / "log") as started:
        yield started


@contextmanager
def operator(kubeconfig: Path, log: Path, mlflow_url: str = "") -> Iterator[Process]:
    """The operator for a control plane of `controlplane`; its images are names that nothing will pull."""
    runtimes = log.with_name(f"{log.name}-serving-runtimes.json")
    runtimes.write_text(serving_runtimes(onnxruntime="onnxruntime:none"))
    environment = {
        "HEADRACE_OPERATOR_NAMESPACE": "default",
        "HEADRACE_TRAINER_IMAGE": "trainer:none",
        "HEADRACE_LOADER_IMAGE": "loader:none",
        "HEADRACE_SERVING_RUNTIMES": str(runtimes),
        "HEADRACE_EXPLAINER_IMAGE": "explainer:none",
        "HEADRACE_HEALTH_PORT": "0",
        "HEADRACE_MLFLOW_URL": mlflow_url,
        "HEADRACE_MLFLOW_USERNAME": ADMIN[0],
        "HEADRACE_MLFLOW_PASSWORD": ADMIN[1],
    }
    started = Process([sys.executable, "-m", "headrace", "--kubeconfig", str(kubeconfig)], log, environment)
    try:
        yield started
    finally:
        started.kill()


@contextmanager
def _server(command: Sequence[str], environment: Mapping[str, str], health: str, log: Path) -> Iterator[Process]:
    """A server from the time it is healthy to the end of the block."""
    started = Process(command, log, environment)
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not _answers(health):
            if not started.is_running() or time.monotonic() > deadline:
                state = "is not healthy" if started.is_running() else "ended"
                raise LocalClusterError(f"{command[0]} {state}: {log.read_text()[-_LOG_TAIL:]}")
            time.sleep(0.1)
        yield started
    finally:
        started.kill()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
