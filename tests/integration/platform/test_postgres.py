"""MLflow with everything in a Postgres, as the chart runs it with `mlflow.backendStore`: no volume, a database that may
be away for a while, and one line about what is wrong with it. The ledger on Postgres is in `test_tracking`.
"""

from __future__ import annotations

import asyncio
import re
import time
import urllib.parse
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
from sqlalchemy import make_url

from headrace.tracking.client import MlflowClient
from headrace.tracking.errors import TrackingUnavailable
from headrace_local import ports
from headrace_local.errors import LocalClusterError
from headrace_local.postgres import Postgres
from headrace_mlflow import database

from .conftest import ADMIN, Mlflow, running_mlflow
from .tenants import REGISTRY, Act, Platform, Team, judge, new_team

STRANGER = ("nobody", "not-seen-before")


@pytest.fixture(scope="module")
def teams(kubectl: Any, store_url: str, mlflow_on_postgres: Mlflow, system_namespace: str) -> tuple[Team, Team]:
    platform = Platform(kubectl, store_url, mlflow_on_postgres.url)
    return new_team(platform), new_team(platform)


@pytest.fixture(scope="module")
def replaced(
    teams: tuple[Team, Team], store_url: str, database_uri: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mlflow]:
    """The server that comes after the first one is gone with its node: the same database, and an empty folder."""
    with running_mlflow(tmp_path_factory.mktemp("another"), store_url, database_uri) as server:
        yield server


def ask(url: str, login: tuple[str, str], call: Callable[[MlflowClient], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        async with aiohttp.ClientSession() as session:
            return await call(MlflowClient(url, *login, session))

    return asyncio.run(main())


@pytest.mark.parametrize(("what", "allowed", "attempt"), REGISTRY, ids=[row[0] for row in REGISTRY])
def test_the_registry_lets_a_tenant(
    teams: tuple[Team, Team], monkeypatch: pytest.MonkeyPatch, what: str, allowed: bool, attempt: Act
) -> None:
    teams[0].become(monkeypatch)
    judge(allowed, attempt, teams)


@pytest.mark.parametrize(("what", "allowed", "attempt"), REGISTRY, ids=[row[0] for row in REGISTRY])
def test_a_server_on_an_empty_volume_lets_the_same_tenant(
    teams: tuple[Team, Team],
    replaced: Mlflow,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
    allowed: bool,
    attempt: Act,
) -> None:
    here = replace(teams[0].platform, mlflow=replaced.url)
    first, second = (replace(team, platform=here) for team in teams)
    first.become(monkeypatch)
    judge(allowed, attempt, (first, second))


def test_a_server_on_an_empty_volume_has_every_run_and_version(teams: tuple[Team, Team], replaced: Mlflow) -> None:
    for team in teams:
        found = ask(replaced.url, ADMIN, lambda client, team=team: client._get("runs/get", "a run", run_id=team.run_id))
        assert found["run"]["info"]["artifact_uri"] == f"{team.location}/{team.run_id}/artifacts"
        version = ask(
            replaced.url, ADMIN, lambda client, team=team: client.get_model_version_by_alias(team.model, "candidate")
        )
        assert (version.version, version.source) == ("1", f"s3://{team.namespace}/model")


def test_nothing_but_the_log_is_in_the_servers_folder(mlflow_on_postgres: Mlflow, teams: tuple[Team, Team]) -> None:
    assert [path.name for path in mlflow_on_postgres.folder.iterdir()] == ["log"]


def test_while_the_database_is_away_that_is_the_answer_to_everybody_and_afterwards_all_is_well(
    teams: tuple[Team, Team], mlflow_on_postgres: Mlflow, postgres: Postgres
) -> None:
    url = mlflow_on_postgres.url
    storage = teams[0].platform.secret(teams[0].namespace, "headrace-storage")
    tenant = storage["MLFLOW_TRACKING_USERNAME"], storage["MLFLOW_TRACKING_PASSWORD"]
    before = len(mlflow_on_postgres.log)
    postgres.stop()
    try:
        for login in (ADMIN, tenant, STRANGER):
            with pytest.raises(TrackingUnavailable, match=r"503 TEMPORARILY_UNAVAILABLE: .*Connection refused"):
                ask(url, login, lambda client: client.get_registered_model(teams[0].model))
        # The gatekeeper asks who a user is before MLflow does.
        for login in (ADMIN, STRANGER):
            with pytest.raises(TrackingUnavailable, match=r"503 TEMPORARILY_UNAVAILABLE: .*Connection refused"):
                ask(url, login, lambda client: client.set_alias(teams[0].model, "champion", "1"))
        with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
            assert answer.status == 200, "a restart of MLflow would not bring its database back"
    finally:
        postgres.start()
    ask(url, ADMIN, lambda client: client.set_alias(teams[0].model, "champion", "1"))
    model = ask(url, tenant, lambda client: client.get_registered_model(teams[0].model))
    assert model.aliases == {"candidate": "1", "champion": "1"}
    said = mlflow_on_postgres.log[before:]
    assert "Connection refused" in said
    assert "Traceback" not in said


def test_a_start_waits_for_its_database(
    database_uri: str, postgres: Postgres, capfd: pytest.CaptureFixture[str]
) -> None:
    postgres.stop()
    try:
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(database.wait, database.complete(database_uri), 30)
            time.sleep(0.5)
            assert not waiting.done()
            postgres.start()
            waiting.result()
    finally:
        if not postgres.is_running():
            postgres.start()
    assert "waiting for database mlflow_" in capfd.readouterr().out


def _wrong_password(postgres: Postgres) -> str:
    user, password = postgres.new_user()
    return postgres.uri(user, f"not-{password}", postgres.new_database(owner=user))


def _no_such_database(postgres: Postgres) -> str:
    return postgres.uri(*postgres.new_user(), "elsewhere")


def _nobody_listens(postgres: Postgres) -> str:
    (port,) = ports.free(1)
    return postgres.uri(*postgres.new_user(), "mlflow").replace(f":{postgres.port}/", f":{port}/")


def _no_rights(postgres: Postgres) -> str:
    return postgres.uri(*postgres.new_user(), postgres.new_database())


def _another_programs_tables(postgres: Postgres) -> str:
    user, password = postgres.new_user()
    name = postgres.new_database(owner=user)
    postgres.execute("CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)", name)
    postgres.execute("INSERT INTO alembic_version VALUES ('anothers')", name)
    postgres.execute("GRANT ALL ON alembic_version TO PUBLIC", name)
    return postgres.uri(user, password, name)


def _another_kind(postgres: Postgres) -> str:
    return _wrong_password(postgres).replace("postgresql:", "mysql:")


UNUSABLE = [
    (_wrong_password, 'no connection within 1 s: .*password authentication failed for user "user_.*Secret'),
    (_no_such_database, 'no connection within 1 s: .*database "elsewhere" does not exist.*Secret'),
    (_nobody_listens, "no connection within 1 s: .*Connection refused.*Secret"),
    (_no_rights, "permission denied for schema public: make it the owner of the database, or GRANT"),
    (_another_programs_tables, "Can't locate revision identified by 'anothers': .*Name a database of its own"),
    (_another_kind, "MLFLOW_BACKEND_STORE_URI begins with mysql://.*: use postgresql://"),
]


@pytest.mark.parametrize(("situation", "said"), UNUSABLE, ids=[row[0].__name__.strip("_") for row in UNUSABLE])
def test_a_database_that_will_not_do_ends_the_start_in_one_line_that_says_what_to_do(
    postgres: Postgres,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    situation: Callable[[Postgres], str],
    said: str,
) -> None:
    monkeypatch.setenv("HEADRACE_MLFLOW_DATABASE_SECONDS", "1")
    uri = situation(postgres)
    with pytest.raises(LocalClusterError, match="ended"), running_mlflow(tmp_path, "", uri):
        pass
    log = (tmp_path / "log").read_text()
    assert re.match(f"error: .*{said}", log.splitlines()[-1]), log
    assert "Traceback" not in log
    assert [secret for secret in _secrets(uri) if secret in log] == []


def test_the_databases_password_is_in_no_log_and_no_argument_of_a_process(
    mlflow_on_postgres: Mlflow, replaced: Mlflow, database_uri: str
) -> None:
    secrets = _secrets(database_uri)
    for server in (mlflow_on_postgres, replaced):
        family = psutil.Process(server.process.pid)
        shown = [server.log, *(str(process.cmdline()) for process in (family, *family.children(recursive=True)))]
        assert [secret for secret in secrets for text in shown if secret in text] == []


def _secrets(uri: str) -> set[str]:
    """The URI's password as it is, as it stands in the URI, and its part that reads the same in both."""
    password = str(make_url(uri).password)
    return {password, urllib.parse.quote(password, safe=""), password[-16:]}
