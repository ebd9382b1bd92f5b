"""The ledger on a real MLflow: what is written once however often it is tried, and what is never overwritten. On each
database that the chart offers.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import aiohttp
import pytest

from headrace.api.modelservice import ModelService
from headrace.kube.client import KubeClient
from headrace.serving.resolve import Models, find_models
from headrace.tracking import client as client_module
from headrace.tracking.client import MlflowClient
from headrace.tracking.errors import (
    AliasMovedExternally,
    AliasReserved,
    ExperimentDeleted,
    ExperimentNameTaken,
    ModelNameTaken,
    NotFound,
    RunDeleted,
    TrackingError,
    TrackingForbidden,
    TrackingUnavailable,
    VersionMismatch,
)
from headrace.tracking.ledger import Ledger
from headrace.tracking.records import REASON_TAG, ROLLOUT_TAG, ModelVersion, RunStatus
from headrace_common.tags import DIGEST_TAG, UID_TAG
from thorough import thorough

from .conftest import ADMIN, Mlflow

DIGEST = "sha256:" + "ab" * 32
Result = TypeVar("Result")


class Killed(BaseException):
    """The operator is gone. No Exception: nothing may handle it."""


class DyingClient(MlflowClient):
    """Ends the operator after its write `die_after` reached MLflow, as a kill before the next line would."""

    def __init__(self, *arguments: Any, die_after: int | None = None) -> None:
        super().__init__(*arguments)
        self.die_after = die_after
        self.writes: list[str] = []

    async def _call(self, method: str, path: str, what: str, **rest: Any) -> dict[str, Any]:
        answer = await super()._call(method, path, what, **rest)
        if method != "GET" and not path.endswith("/search"):
            self.writes.append(f"{method} {path}")
            if len(self.writes) == self.die_after:
                raise Killed
        return answer


def act(url: str, scenario: Callable[[DyingClient], Awaitable[Result]], die_after: int | None = None) -> Result:
    async def main() -> Result:
        async with aiohttp.ClientSession() as session:
            return await scenario(DyingClient(url, *ADMIN, session, die_after=die_after))

    return asyncio.run(main())


@pytest.fixture(scope="module", params=["mlflow_on_sqlite", "mlflow_on_postgres"])
def mlflow(request: pytest.FixtureRequest) -> Mlflow:
    found: Mlflow = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="module")
def mlflow_url(mlflow: Mlflow) -> str:
    return mlflow.url


@pytest.fixture
def namespace() -> str:
    """A namespace in names only: MLflow knows no others. Hides the one of the API server."""
    return f"test-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def tenant(mlflow_url: str, namespace: str) -> str:
    user = f"headrace.{namespace}"
    act(mlflow_url, lambda client: client.create_user(user, "password-of-the-tenant"))
    return user


async def new_run(client: MlflowClient, experiment_id: str, uid: str) -> str:
    body = {"experiment_id": experiment_id, "tags": [{"key": UID_TAG, "value": uid}], "start_time": 1}
    answer = await client._call("POST", "2.0/mlflow/runs/create", "a run", body=body)
    return str(answer["run"]["info"]["run_id"])


def everything(namespace: str, tenant: str, uid: str) -> Callable[[DyingClient], Awaitable[ModelVersion]]:
    """All that the operator writes for one successful TrainingJob; the run is the launcher's."""

    async def scenario(client: DyingClient) -> ModelVersion:
        ledger, model = Ledger(client), f"{namespace}.text"
        experiment = await ledger.ensure_experiment(namespace, "generation", "team-a", tenant)
        run = await ledger.find_run(experiment.id, uid)
        run_id = run.id if run else await new_run(client, experiment.id, uid)
        await ledger.ensure_model(namespace, "text", tenant)
        version = await ledger.register(model, run_id, DIGEST, "s3://team-a/mlflow/generation/model", uid)
        await ledger.tag_version(model, version.version, {"headrace.gate": "passed"})
        await ledger.point_alias(model, "candidate", version.version)
        await ledger.move_alias(model, "champion", version.version, None)
        return version

    return scenario


@pytest.mark.parametrize("mlflow", [thorough("mlflow_on_sqlite"), "mlflow_on_postgres"], indirect=True)
def test_a_kill_after_any_write_leaves_one_version_and_one_move_of_each_alias(
    mlflow_url: str, namespace: str, tenant: str
) -> None:
    uninterrupted: list[str] = []

    async def count(client: DyingClient) -> None:
        await everything(namespace, tenant, "uninterrupted")(client)
        uninterrupted.extend(client.writes)

    act(mlflow_url, count)
    assert len(uninterrupted) == 9, uninterrupted

    for k in range(1, len(uninterrupted) + 1):
        ns, user, written = f"{namespace}-{k}", f"headrace.{namespace}-{k}", []
        act(mlflow_url, lambda client, user=user: client.create_user(user, "password-of-the-tenant"))

        async def killed_then_repeated(client: DyingClient, ns=ns, user=user, written=written) -> ModelVersion:
            with pytest.raises(Killed):
                await everything(ns, user, "uid-1")(client)
            client.die_after = None
            version = await everything(ns, user, "uid-1")(client)
            written.extend(client.writes)
            found = await client.search_model_versions(f"{ns}.text", UID_TAG, "uid-1")
            assert [entry.version for entry in found] == [version.version] == ["1"]
            model = await client.get_registered_model(f"{ns}.text")
            assert model.aliases == {"candidate": "1", "champion": "1"}
            return found[0]

        version = act(mlflow_url, killed_then_repeated, die_after=k)
        assert version.tags == {UID_TAG: "uid-1", DIGEST_TAG: DIGEST, "headrace.gate": "passed"}
        once = ("experiments/create", "runs/create", "registered-models/create", "model-versions/create", "alias")
        counts = {act: sum(entry.endswith(act) for entry in written) for act in once}
        assert counts == {**dict.fromkeys(once, 1), "alias": 2}, f"killed after write {k}"


def test_a_job_s_run_in_the_trash_is_found_until_there_is_another(mlflow_url: str, namespace: str) -> None:
    async def scenario(client: DyingClient) -> None:
        ledger = Ledger(client)
        experiment = await ledger.ensure_experiment(namespace, "generation", "team-a", "")
        await ledger.check_run_of(experiment.id, "uid-1")
        run_id = await new_run(client, experiment.id, "uid-1")
        await ledger.check_run_of(experiment.id, "uid-1")
        await client._call("POST", "2.0/mlflow/runs/delete", "a run", body={"run_id": run_id})
        with pytest.raises(RunDeleted, match=run_id):
            await ledger.check_run_of(experiment.id, "uid-1")
        assert await ledger.find_run(experiment.id, "uid-1") is None
        await new_run(client, experiment.id, "uid-1")
        await ledger.check_run_of(experiment.id, "uid-1")

    act(mlflow_url, scenario)


def test_two_versions_of_one_attempt_are_one_for_everybody(mlflow_url: str, namespace: str) -> None:
    async def scenario(client: DyingClient) -> str:
        ledger, model = Ledger(client), f"{namespace}.text"
        experiment = await ledger.ensure_experiment(namespace, "generation", "team-a", "")
        await ledger.ensure_model(namespace, "text", "")
        run_id = await new_run(client, experiment.id, "uid-1")
        for _ in range(2):  # a request that timed out at the client was done by the server all the same
            await client.create_model_version(model, "s3://x/y", run_id, {UID_TAG: "uid-1", DIGEST_TAG: DIGEST})
        return (await ledger.register(model, run_id, DIGEST, "s3://x/y", "uid-1")).version

    assert act(mlflow_url, scenario) == "1"


def test_versions_that_somebody_made_of_a_run_or_of_its_files_are_found(mlflow_url: str, namespace: str) -> None:
    async def scenario(client: DyingClient) -> list[str]:
        ledger, model, source = Ledger(client), f"{namespace}.text", f"s3://team-a/{namespace}/model/attempt-1"
        experiment = await ledger.ensure_experiment(namespace, "generation", "team-a", "")
        await ledger.ensure_model(namespace, "text", "")
        of_run = await new_run(client, experiment.id, "uid-1")
        of_files = await new_run(client, experiment.id, "uid-2")
        of_another_attempt = await new_run(client, experiment.id, "uid-4")
        unused = await new_run(client, experiment.id, "uid-3")
        await client.create_model_version(model, "s3://team-a/else", of_run, {})
        await client.create_model_version(model, f"{source}/onnx", of_run, {})
        folder = await ledger.model_folder(of_another_attempt)
        await client.create_model_version(model, f"{folder}/attempt-2", of_run, {})
        nowhere = f"s3://{namespace}/nowhere"
        asked = [(of_run, nowhere), (of_files, source), (of_another_attempt, folder), (unused, nowhere)]
        found = [await ledger.version_of(run, place) for run, place in asked]
        return ["" if one is None else one.model for one in found]

    assert act(mlflow_url, scenario) == [f"{namespace}.text"] * 3 + [""]


def test_a_second_attempt_tag_makes_a_second_version(mlflow_url: str, namespace: str, tenant: str) -> None:
    async def scenario(client: DyingClient) -> list[str]:
        first = await everything(namespace, tenant, "uid-1")(client)
        ledger, model = Ledger(client), f"{namespace}.text"
        second = await ledger.register(model, first.run_id, DIGEST, first.source, "uid-2")
        await ledger.move_alias(model, "champion", second.version, expected=first.version)
        found = await ledger.resolve(model, "champion")
        assert found is not None
        return [first.version, second.version, found.version]

    assert act(mlflow_url, scenario) == ["1", "2", "2"]


async def _foreign_model(client: DyingClient, namespace: str) -> None:
    await client.create_registered_model(f"{namespace}.taken", {})
    await Ledger(client).ensure_model(namespace, "taken", "")


async def _experiment_elsewhere(client: DyingClient, namespace: str) -> None:
    await client.create_experiment(f"{namespace}/taken", "s3://team-b/mlflow/taken", {"headrace.namespace": namespace})
    await Ledger(client).ensure_experiment(namespace, "taken", "team-a", "")


async def _experiment_in_the_trash(client: DyingClient, namespace: str) -> None:
    experiment = await Ledger(client).ensure_experiment(namespace, "trashed", "team-a", "")
    await client._call("POST", "2.0/mlflow/experiments/delete", "experiment", body={"experiment_id": experiment.id})
    await Ledger(client).ensure_experiment(namespace, "trashed", "team-a", "")


async def _two_versions(client: DyingClient, namespace: str) -> Ledger:
    ledger, model = Ledger(client), f"{namespace}.text"
    experiment = await ledger.ensure_experiment(namespace, "generation", "team-a", "")
    await ledger.ensure_model(namespace, "text", "")
    run_id = await new_run(client, experiment.id, "uid-1")
    for uid in ("uid-1", "uid-2"):
        await ledger.register(model, run_id, DIGEST, "s3://x/y", uid)
    return ledger


async def _alias_moved_by_hand(client: DyingClient, namespace: str) -> None:
    ledger, model = await _two_versions(client, namespace), f"{namespace}.text"
    await ledger.move_alias(model, "champion", "1", expected=None)
    await client.set_alias(model, "champion", "2")
    await client.create_model_version(model, "s3://x/y", "", {})
    await ledger.move_alias(model, "champion", "3", expected="1")


async def _source_alias_of_a_service(client: DyingClient, namespace: str) -> None:
    ledger, model = await _two_versions(client, namespace), f"{namespace}.text"
    await ledger.claim_alias(model, "champion", f"{namespace}/service")
    await ledger.point_alias(model, "champion", "1")


async def _alias_of_another_service(client: DyingClient, namespace: str) -> None:
    ledger, model = await _two_versions(client, namespace), f"{namespace}.text"
    await ledger.claim_alias(model, "champion", f"{namespace}/service")
    await ledger.claim_alias(model, "champion", f"{namespace}/another")


async def _other_bytes(client: DyingClient, namespace: str) -> None:
    ledger = await _two_versions(client, namespace)
    await ledger.register(f"{namespace}.text", "", "sha256:other", "s3://x/y", "uid-1")


@pytest.mark.parametrize(
    ("situation", "error"),
    [
        (_foreign_model, ModelNameTaken),
        (_experiment_elsewhere, ExperimentNameTaken),
        (_experiment_in_the_trash, ExperimentDeleted),
        (_alias_moved_by_hand, AliasMovedExternally),
        (_source_alias_of_a_service, AliasReserved),
        (_alias_of_another_service, AliasReserved),
        (_other_bytes, VersionMismatch),
    ],
)
def test_what_is_somebody_elses_is_not_overwritten(
    mlflow_url: str,
    namespace: str,
    situation: Callable[[DyingClient, str], Awaitable[None]],
    error: type[TrackingError],
) -> None:
    async def scenario(client: DyingClient) -> Mapping[str, str]:
        with pytest.raises(error) as raised:
            await situation(client, namespace)
        assert raised.value.reason == error.__name__
        try:
            return (await client.get_registered_model(f"{namespace}.text")).aliases
        except NotFound:
            return {}

    aliases = act(mlflow_url, scenario)
    assert aliases == ({"champion": "2"} if situation is _alias_moved_by_hand else {})


def test_the_alias_of_a_service_that_is_gone_may_be_claimed_and_pointed_by_others(
    mlflow_url: str, namespace: str
) -> None:
    there = {f"{namespace}/service", f"{namespace}/another"}

    async def still_owns(owner: str, alias: str) -> bool:
        return owner in there

    async def scenario(client: DyingClient) -> str:
        await _two_versions(client, namespace)
        ledger, model = Ledger(client, still_owns), f"{namespace}.text"
        await ledger.claim_alias(model, "champion", f"{namespace}/service")
        with pytest.raises(AliasReserved):
            await ledger.claim_alias(model, "champion", f"{namespace}/another")
        there.discard(f"{namespace}/service")
        await ledger.point_alias(model, "champion", "1")
        await ledger.claim_alias(model, "champion", f"{namespace}/another")
        return await ledger.alias_owner(model, "champion")

    assert act(mlflow_url, scenario) == f"{namespace}/another"


def test_an_alias_that_somebody_deleted_is_set_anew(mlflow_url: str, namespace: str) -> None:
    async def scenario(client: DyingClient) -> Mapping[str, str]:
        ledger, model = await _two_versions(client, namespace), f"{namespace}.text"
        await ledger.move_alias(model, "champion", "1", expected=None)
        alias = {"name": model, "alias": "champion"}
        await client._call("DELETE", "2.0/mlflow/registered-models/alias", "an alias", body=alias)
        await ledger.move_alias(model, "champion", "2", expected="1")
        return (await client.get_registered_model(model)).aliases

    assert act(mlflow_url, scenario) == {"champion": "2"}


def test_a_run_is_read_tagged_and_ended(mlflow_url: str, namespace: str) -> None:
    async def scenario(client: DyingClient) -> None:
        ledger = Ledger(client)
        experiment = await ledger.ensure_experiment(namespace, "generation", "team-a", "")
        assert await ledger.find_run(experiment.id, "uid-1") is None
        run_id = await new_run(client, experiment.id, "uid-1")
        metric = {"run_id": run_id, "key": "loss", "value": 0.5, "step": 1, "timestamp": 1}
        await client._call("POST", "2.0/mlflow/runs/log-metric", "a metric", body=metric)
        await client.set_tag(run_id, DIGEST_TAG, DIGEST)
        ended = {"run_id": run_id, "status": "FINISHED", "end_time": 2}
        await client._call("POST", "2.0/mlflow/runs/update", "a run", body=ended)
        run = await ledger.find_run(experiment.id, "uid-1")
        assert run is not None
        assert (run.status, run.metrics["loss"], run.tags[DIGEST_TAG]) == (RunStatus.FINISHED, 0.5, DIGEST)
        assert run.artifact_uri == f"s3://team-a/mlflow/generation/{run_id}/artifacts"

    act(mlflow_url, scenario)


def test_wrong_credentials_are_forbidden_and_not_unavailable(mlflow_url: str) -> None:
    async def main() -> None:
        async with aiohttp.ClientSession() as session:
            await MlflowClient(mlflow_url, ADMIN[0], "not the password", session).current_user()

    with pytest.raises(TrackingForbidden):
        asyncio.run(main())


def test_a_server_that_is_not_there_is_unavailable_at_once() -> None:
    started = time.monotonic()
    with pytest.raises(TrackingUnavailable, match="no connection"):
        act("http://127.0.0.1:9", lambda client: client.current_user())
    assert time.monotonic() - started < client_module.CALL_SECONDS


def test_a_server_that_hangs_is_unavailable_within_the_time_limit(
    mlflow: Mlflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "CALL_SECONDS", 5.0)
    mlflow.process.pause()
    started = time.monotonic()
    try:
        with pytest.raises(TrackingUnavailable, match="no answer within 5 s"):
            act(mlflow.url, lambda client: client.current_user())
        assert time.monotonic() - started < 15
    finally:
        mlflow.process.resume()
    monkeypatch.undo()
    assert act(mlflow.url, lambda client: client.current_user()) == ADMIN[0]


def test_a_service_without_status_finds_what_was_promoted_and_that_the_source_was_rolled_back(
    mlflow_url: str, namespace: str
) -> None:
    spec = {
        "model": {"registry": {"name": "text", "alias": "candidate"}},
        "runtime": {"name": "onnxruntime"},
        "rollout": {"promotion": {"alias": "champion"}},
    }
    service = ModelService.model_validate({"metadata": {"name": "text", "namespace": namespace}, "spec": spec})

    async def scenario(client: DyingClient) -> Models:
        ledger, model = await _two_versions(client, namespace), f"{namespace}.text"
        await ledger.move_alias(model, "champion", "1", expected=None)
        await ledger.point_alias(model, "candidate", "2")
        await ledger.tag_version(model, "2", {ROLLOUT_TAG: "RolledBack", REASON_TAG: "AnalysisFailed"})
        return await find_models(service, KubeClient.__new__(KubeClient), ledger, client)

    found = act(mlflow_url, scenario)

    assert found.promoted is not None
    assert found.source is not None
    assert (found.promoted.version, found.source.version) == ("1", "2")
    assert found.rolled_back == {found.source: "AnalysisFailed"}
