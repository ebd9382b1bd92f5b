"""Tenants on a real API server, a real store and a real MLflow: what their credentials can do, and what they cannot."""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from botocore.exceptions import ClientError
from mlflow.exceptions import MlflowException

from headrace.cli.main import main
from headrace.kube.client import KubeClient
from headrace.tenancy.objects import Addresses
from headrace.tenancy.registrar import Registrar
from headrace.tenancy.sigv4 import AccessKey
from headrace.tenancy.store import Store
from headrace.tenancy.tenant import Tenant
from headrace.tracking.client import MlflowClient
from headrace.tracking.errors import TrackingForbidden

from .conftest import ADMIN, REGION, ROOT
from .tenants import IN_CLUSTER, REGISTRY, Act, Platform, Team, judge, new_team


@pytest.fixture(scope="session")
def platform(kubectl: Any, store_url: str, mlflow_url: str, system_namespace: str) -> Platform:
    return Platform(kubectl, store_url, mlflow_url)


@pytest.fixture(scope="module")
def teams(platform: Platform) -> tuple[Team, Team]:
    """Two tenants, each with an experiment and a model with one version, as the operator makes them."""
    return new_team(platform), new_team(platform)


@pytest.fixture
def as_tenant(teams: tuple[Team, Team], monkeypatch: pytest.MonkeyPatch) -> tuple[Team, Team]:
    """The first team's environment, as its training pods have it."""
    teams[0].become(monkeypatch)
    return teams


def test_a_tenant_logs_a_run_with_artifacts_and_people_see_them_through_the_server(
    as_tenant: tuple[Team, Team], tmp_path: Path
) -> None:
    team = as_tenant[0]
    client = team.tracking()
    run = client.create_run(team.experiment_id, tags={"headrace.uid": "uid-1"})
    client.log_metric(run.info.run_id, "loss", 0.5, step=1)
    client.log_param(run.info.run_id, "epochs", 10)
    client.set_tag(run.info.run_id, "headrace.digest", "sha256:1")
    artifact = tmp_path / "model.txt"
    artifact.write_text("weights")
    client.log_artifact(run.info.run_id, str(artifact), "model")
    client.set_terminated(run.info.run_id)

    found = client.get_run(run.info.run_id)
    assert (found.info.status, found.data.metrics["loss"]) == ("FINISHED", 0.5)
    # Straight into the namespace's bucket, not through the server.
    key = f"{team.location}/{run.info.run_id}/artifacts/model/model.txt".removeprefix(f"s3://{team.namespace}/")
    assert team.reader.get_object(Bucket=team.namespace, Key=key)["Body"].read() == b"weights"
    # The UI asks the server, which reads with its own, read-only user.
    listing = json.loads(_get(team, "ajax-api/2.0/mlflow/artifacts/list", run_id=run.info.run_id, path="model"))
    assert [entry["path"] for entry in listing["files"]] == ["model/model.txt"]
    assert _get(team, "get-artifact", run_id=run.info.run_id, path="model/model.txt") == b"weights"


def _get(team: Team, route: str, /, **query: str) -> bytes:
    storage = team.platform.secret(team.namespace, "headrace-storage")
    login = aiohttp.encode_basic_auth(storage["MLFLOW_TRACKING_USERNAME"], storage["MLFLOW_TRACKING_PASSWORD"])

    async def fetch() -> bytes:
        async with (
            aiohttp.ClientSession(headers={"Authorization": login}, raise_for_status=True) as session,
            session.get(f"{team.platform.mlflow}/{route}", params=query) as answer,
        ):
            return await answer.read()

    return asyncio.run(fetch())


def _put(client: Any, team: Team, key: str = "new") -> object:
    return client.put_object(Bucket=team.namespace, Key=key, Body=b"x")


def _public_policy(team: Team) -> str:
    return (
        '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject",'
        f'"Resource":"arn:aws:s3:::{team.namespace}/*"}}]}}'
    )


STORE: list[tuple[str, bool, Act]] = [
    ("the writer reads its bucket", True, lambda a, b: a.writer.get_object(Bucket=a.namespace, Key="corpus.txt")),
    ("the writer lists its bucket", True, lambda a, b: a.writer.list_objects_v2(Bucket=a.namespace)),
    ("the writer writes to its bucket", True, lambda a, b: _put(a.writer, a)),
    ("the writer deletes in its bucket", True, lambda a, b: a.writer.delete_object(Bucket=a.namespace, Key="new")),
    ("the writer asks where its bucket is", True, lambda a, b: a.writer.head_bucket(Bucket=a.namespace)),
    ("the writer reads another bucket", False, lambda a, b: a.writer.get_object(Bucket=b.namespace, Key="corpus.txt")),
    ("the writer lists another bucket", False, lambda a, b: a.writer.list_objects_v2(Bucket=b.namespace)),
    ("the writer writes to another bucket", False, lambda a, b: _put(a.writer, b)),
    ("the writer makes a bucket", False, lambda a, b: a.writer.create_bucket(Bucket=f"{a.namespace}-2")),
    ("the writer deletes its bucket", False, lambda a, b: a.writer.delete_bucket(Bucket=a.namespace)),
    (
        "the writer opens its bucket to the world",
        False,
        lambda a, b: a.writer.put_bucket_policy(Bucket=a.namespace, Policy=_public_policy(a)),
    ),
    (
        "the writer opens its bucket by ACL",
        False,
        lambda a, b: a.writer.put_bucket_acl(Bucket=a.namespace, ACL="public-read"),
    ),
    ("the reader reads its bucket", True, lambda a, b: a.reader.get_object(Bucket=a.namespace, Key="corpus.txt")),
    ("the reader lists its bucket", True, lambda a, b: a.reader.list_objects_v2(Bucket=a.namespace)),
    ("the reader writes to its bucket", False, lambda a, b: _put(a.reader, a)),
    (
        "the reader deletes in its bucket",
        False,
        lambda a, b: a.reader.delete_object(Bucket=a.namespace, Key="corpus.txt"),
    ),
    ("the reader reads another bucket", False, lambda a, b: a.reader.get_object(Bucket=b.namespace, Key="corpus.txt")),
]


@pytest.mark.parametrize(("what", "allowed", "attempt"), STORE, ids=[row[0] for row in STORE])
def test_the_store(teams: tuple[Team, Team], what: str, allowed: bool, attempt: Act) -> None:
    if allowed:
        attempt(*teams)
        return
    with pytest.raises(ClientError) as refused:
        attempt(*teams)
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403, what


@pytest.mark.parametrize(("what", "allowed", "attempt"), REGISTRY, ids=[row[0] for row in REGISTRY])
def test_the_registry_lets_a_tenant(as_tenant: tuple[Team, Team], what: str, allowed: bool, attempt: Act) -> None:
    judge(allowed, attempt, as_tenant)


def test_a_refusal_says_what_to_do_instead(as_tenant: tuple[Team, Team]) -> None:
    with pytest.raises(MlflowException, match=r"set spec\.tracking\.experiment and spec\.output\.model"):
        as_tenant[0].tracking().create_registered_model("own")


def test_what_a_tenant_gets_is_in_its_namespace_and_no_secret_is_printed(
    platform: Platform, capsys: pytest.CaptureFixture[str]
) -> None:
    namespace = platform.new_namespace()
    assert platform.headrace("tenant", "add", namespace) == 0
    printed = "".join(capsys.readouterr())

    storage, read = platform.secret(namespace, "headrace-storage"), platform.secret(namespace, "headrace-storage-read")
    assert set(storage) == {
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "MLFLOW_TRACKING_USERNAME",
        "MLFLOW_TRACKING_PASSWORD",
    }
    assert set(read) == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    assert platform.kubectl.get("configmap", "headrace-tenant", namespace)["data"] == {
        "bucket": namespace,
        "endpoint": IN_CLUSTER,
        "region": REGION,
        "mlflowUser": storage["MLFLOW_TRACKING_USERNAME"],
    }
    for name in ("trainer", "server"):
        assert platform.kubectl.get("serviceaccount", name, namespace)["automountServiceAccountToken"] is False
    assert f"tenant {namespace}: bucket {namespace}" in printed
    secrets = {storage["AWS_SECRET_ACCESS_KEY"], storage["MLFLOW_TRACKING_PASSWORD"], read["AWS_SECRET_ACCESS_KEY"]}
    assert not [secret for secret in secrets if secret in printed]

    assert platform.headrace("tenant", "list") == 0
    assert [namespace, namespace, storage["MLFLOW_TRACKING_USERNAME"], IN_CLUSTER] in [
        line.split() for line in capsys.readouterr().out.splitlines()
    ]


def test_a_second_add_keeps_the_credentials_and_rotate_replaces_them(platform: Platform) -> None:
    namespace = platform.new_namespace()
    platform.headrace("tenant", "add", namespace)
    first = platform.secret(namespace, "headrace-storage"), platform.secret(namespace, "headrace-storage-read")
    assert platform.headrace("tenant", "add", namespace) == 0
    again = platform.secret(namespace, "headrace-storage"), platform.secret(namespace, "headrace-storage-read")
    assert again == first

    assert platform.headrace("tenant", "add", namespace, "--rotate") == 0
    rotated = platform.secret(namespace, "headrace-storage"), platform.secret(namespace, "headrace-storage-read")
    for old, new in zip(first, rotated, strict=True):
        assert old["AWS_ACCESS_KEY_ID"] == new["AWS_ACCESS_KEY_ID"]
        platform.s3(new["AWS_ACCESS_KEY_ID"], new["AWS_SECRET_ACCESS_KEY"]).list_objects_v2(Bucket=namespace)
        with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
            platform.s3(old["AWS_ACCESS_KEY_ID"], old["AWS_SECRET_ACCESS_KEY"]).list_objects_v2(Bucket=namespace)
    assert _mlflow_knows(platform, rotated[0])
    assert not _mlflow_knows(platform, first[0])


def test_tenants_that_are_added_at_the_same_time_share_the_viewer(platform: Platform) -> None:
    viewer = AccessKey(f"viewer-{uuid.uuid4().hex[:12]}", "a-viewer-s-secret")
    namespaces = [platform.new_namespace() for _ in range(4)]

    async def add_all() -> None:
        async with KubeClient.session(platform.kubectl.kubeconfig) as kube, aiohttp.ClientSession() as session:
            store = Store(platform.store, REGION, AccessKey(*ROOT), session)
            tracking = MlflowClient(platform.mlflow, *ADMIN, session)
            registrar = Registrar(kube, store, tracking, Addresses(IN_CLUSTER, REGION), viewer)
            await asyncio.gather(*(registrar.add(Tenant.of(namespace)) for namespace in namespaces))

    asyncio.run(add_all())

    for namespace in namespaces:
        platform.s3(viewer.id, viewer.secret).list_objects_v2(Bucket=namespace)


def test_a_removed_tenant_can_do_nothing_and_comes_back_with_its_data(platform: Platform) -> None:
    namespace = platform.new_namespace()
    platform.headrace("tenant", "add", namespace)
    old = platform.secret(namespace, "headrace-storage")
    platform.s3(old["AWS_ACCESS_KEY_ID"], old["AWS_SECRET_ACCESS_KEY"]).put_object(
        Bucket=namespace, Key="kept", Body=b"kept"
    )

    assert platform.headrace("tenant", "remove", namespace) == 0
    assert platform.headrace("tenant", "remove", namespace) == 0, "a removal may be repeated"
    with pytest.raises(ClientError):
        platform.s3(old["AWS_ACCESS_KEY_ID"], old["AWS_SECRET_ACCESS_KEY"]).list_objects_v2(Bucket=namespace)
    assert not _mlflow_knows(platform, old)
    kinds = "secrets,configmaps,serviceaccounts,roles,rolebindings"
    left = platform.kubectl("get", kinds, "--namespace", namespace, "--output=name")
    assert "headrace" not in left
    assert "trainer" not in left

    platform.headrace("tenant", "add", namespace)
    new = platform.secret(namespace, "headrace-storage")
    again = platform.s3(new["AWS_ACCESS_KEY_ID"], new["AWS_SECRET_ACCESS_KEY"])
    assert again.get_object(Bucket=namespace, Key="kept")["Body"].read() == b"kept"
    assert new["AWS_SECRET_ACCESS_KEY"] != old["AWS_SECRET_ACCESS_KEY"]


def _mlflow_knows(platform: Platform, storage: dict[str, str]) -> bool:
    async def ask() -> bool:
        login = storage["MLFLOW_TRACKING_USERNAME"], storage["MLFLOW_TRACKING_PASSWORD"]
        async with aiohttp.ClientSession() as session:
            try:
                return await MlflowClient(platform.mlflow, *login, session).current_user() == login[0]
            except TrackingForbidden:
                return False

    return asyncio.run(ask())


class Stopped(BaseException):
    """`headrace tenant add` is gone. No Exception: nothing may handle it."""


class Stopping:
    """Counts writes over the three servers and stops after write `stop_after`."""

    def __init__(self, stop_after: int) -> None:
        self.left = stop_after

    def count(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise Stopped


def test_an_add_that_stops_after_any_write_is_completed_by_the_next(platform: Platform) -> None:
    async def stopped_add(tenant: Tenant, stop_after: int) -> bool:
        stopping = Stopping(stop_after)

        class StoppingKube(KubeClient):
            async def apply(self, *arguments: Any, **rest: Any) -> Any:
                answer = await super().apply(*arguments, **rest)
                stopping.count()
                return answer

        class StoppingStore(Store):
            async def _send(self, method: str, path: str, what: str, **rest: Any) -> bytes:
                answer = await super()._send(method, path, what, **rest)
                stopping.count()
                return answer

        class StoppingMlflow(MlflowClient):
            async def _call(self, *arguments: Any, **rest: Any) -> dict[str, Any]:
                answer = await super()._call(*arguments, **rest)
                stopping.count()
                return answer

        async with StoppingKube.session(platform.kubectl.kubeconfig) as kube, aiohttp.ClientSession() as session:
            store = StoppingStore(platform.store, REGION, AccessKey(*ROOT), session)
            tracking = StoppingMlflow(platform.mlflow, *ADMIN, session)
            try:
                await Registrar(kube, store, tracking, Addresses(IN_CLUSTER, REGION), None).add(tenant)
            except Stopped:
                return True
            return False

    stops = 1
    while True:
        namespace = platform.new_namespace()
        stopped = asyncio.run(stopped_add(Tenant.of(namespace), stops))
        assert platform.headrace("tenant", "add", namespace) == 0
        storage, read = (platform.secret(namespace, name) for name in ("headrace-storage", "headrace-storage-read"))
        platform.s3(storage["AWS_ACCESS_KEY_ID"], storage["AWS_SECRET_ACCESS_KEY"]).put_object(
            Bucket=namespace, Key="x", Body=b"x"
        )
        platform.s3(read["AWS_ACCESS_KEY_ID"], read["AWS_SECRET_ACCESS_KEY"]).get_object(Bucket=namespace, Key="x")
        assert _mlflow_knows(platform, storage)
        if not stopped:
            break
        stops += 1
    assert stops > 10, "add has that many writes"


def _somebody_elses_secret(platform: Platform, namespace: str) -> None:
    platform.kubectl("create", "secret", "generic", "headrace-storage", "--namespace", namespace, "--from-literal=a=b")


def _somebody_elses_bucket(platform: Platform, namespace: str) -> None:
    platform.s3(*ROOT).create_bucket(Bucket=namespace)


@pytest.mark.parametrize(
    ("situation", "said"),
    [
        (
            _somebody_elses_secret,
            r"error: Secret \S+/headrace-storage was not written by `headrace tenant`.*: delete it",
        ),
        (_somebody_elses_bucket, r"error: bucket \S+ belongs to root-access-key, .*--bucket"),
    ],
)
def test_what_is_somebody_elses_ends_in_one_line_that_says_what_to_do(
    platform: Platform,
    capsys: pytest.CaptureFixture[str],
    situation: Callable[[Platform, str], None],
    said: str,
) -> None:
    namespace = platform.new_namespace()
    situation(platform, namespace)
    assert platform.headrace("tenant", "add", namespace) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.match(said, error), error


def test_a_namespace_that_does_not_exist_is_named(platform: Platform, capsys: pytest.CaptureFixture[str]) -> None:
    assert platform.headrace("tenant", "add", "no-such-namespace") == 1
    assert "kubectl create namespace no-such-namespace" in capsys.readouterr().err


def test_a_service_account_that_exists_is_left_alone(platform: Platform) -> None:
    namespace = platform.new_namespace()
    platform.kubectl("create", "serviceaccount", "trainer", "--namespace", namespace)
    before = platform.kubectl.get("serviceaccount", "trainer", namespace)
    platform.headrace("tenant", "add", namespace)
    platform.headrace("tenant", "remove", namespace)
    assert platform.kubectl.get("serviceaccount", "trainer", namespace) == before


def test_credentials_of_the_chart_are_found_in_its_secrets(platform: Platform, tmp_path: Path) -> None:
    namespace = platform.new_namespace()
    for name, keys in {
        "trial-s3": {"accessKeyId": ROOT[0], "secretAccessKey": ROOT[1]},
        "trial-mlflow": {"username": ADMIN[0], "password": ADMIN[1]},
    }.items():
        literals = [f"--from-literal={key}={value}" for key, value in keys.items()]
        platform.kubectl("create", "secret", "generic", name, "--namespace", namespace, *literals)
    arguments = ["tenant", "add", namespace, "--system-namespace", namespace, "--release", "trial"]
    arguments += ["--kubeconfig", str(platform.kubectl.kubeconfig), "--s3-endpoint", platform.store]
    assert main([*arguments, "--mlflow-url", platform.mlflow]) == 0
