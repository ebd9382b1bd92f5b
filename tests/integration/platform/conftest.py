"""Real servers on loopback ports for the tests of this folder: MLflow as the image runs it, on SQLite and on Postgres,
and versitygw with users.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from headrace_local import platform, ports
from headrace_local import postgres as postgres_server
from headrace_local.platform import ADMIN, REGION, ROOT, VIEWER
from headrace_local.postgres import Postgres
from headrace_local.process import Process

__all__ = ["ADMIN", "REGION", "ROOT", "VIEWER"]


@dataclass(frozen=True)
class Mlflow:
    """A server that runs, and the folder that it has for itself."""

    url: str
    process: Process
    folder: Path

    @property
    def log(self) -> str:
        return self.process.log.read_text()


@contextmanager
def running_mlflow(folder: Path, store_url: str, database_uri: str = "") -> Iterator[Mlflow]:
    (port,) = ports.free(1)
    with platform.mlflow(folder, port, store_url, database_uri) as process:
        yield Mlflow(f"http://127.0.0.1:{port}", process, folder)


@pytest.fixture(scope="session")
def store_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with platform.store(tmp_path_factory.mktemp("store"), ports.free(1)[0]) as url:
        yield url


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with postgres_server.running(ports.free(1)[0]) as server:
        yield server


@pytest.fixture(scope="session")
def database_uri(postgres: Postgres) -> str:
    """An empty database and its owner, as the how-to has them made."""
    user, password = postgres.new_user()
    return postgres.uri(user, password, postgres.new_database(owner=user))


@pytest.fixture(scope="session")
def mlflow_on_sqlite(tmp_path_factory: pytest.TempPathFactory, store_url: str) -> Iterator[Mlflow]:
    with running_mlflow(tmp_path_factory.mktemp("mlflow"), store_url) as server:
        yield server


@pytest.fixture(scope="session")
def mlflow_on_postgres(tmp_path_factory: pytest.TempPathFactory, store_url: str, database_uri: str) -> Iterator[Mlflow]:
    with running_mlflow(tmp_path_factory.mktemp("mlflow"), store_url, database_uri) as server:
        yield server


@pytest.fixture(scope="session")
def mlflow_url(mlflow_on_sqlite: Mlflow) -> str:
    return mlflow_on_sqlite.url


@pytest.fixture(scope="session")
def system_namespace(kubectl: Any) -> str:
    """The release's namespace, with the Secret of MLflow's own user of the store."""
    name = "headrace-system"
    kubectl("create", "namespace", name)
    literals = [f"--from-literal=accessKeyId={VIEWER[0]}", f"--from-literal=secretAccessKey={VIEWER[1]}"]
    kubectl("create", "secret", "generic", "headrace-s3-viewer", f"--namespace={name}", *literals)
    return name
