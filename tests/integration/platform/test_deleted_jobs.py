"""What becomes of the run of a TrainingJob that is deleted before its end, and of a job whose run is deleted: on a real
MLflow and API server. Controllers, kubelet and launcher are played.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import aiohttp
import pytest

from headrace.kube.client import KubeClient
from headrace.kube.keys import Key
from headrace.kube.resources import CONFIGMAPS, JOBS, PODS, TRAININGJOBS, Object
from headrace.tracking.client import MlflowClient
from headrace.tracking.ledger import experiment_name
from headrace.tracking.records import Run
from headrace.training.open_runs import CONFIGMAP, OpenRuns
from headrace_common.tags import DIGEST_TAG, OUTCOME_TAG, UID_TAG
from headrace_local.controlplane import ControlPlane

from .conftest import ADMIN
from .test_killed import DIGEST, NAME, TENANT, Life, Servers, Status, Training, plane

__all__ = ["plane"]  # the fixture
SPEC = {
    "source": {"configMap": {"name": "code"}},
    "entrypoint": "train.py",
    "tracking": {"experiment": NAME},
    "output": {"model": NAME},
}


class Job(Training):
    """A TrainingJob whose launcher makes its run as soon as the pod is there, and trains for as long as it is let."""

    run_id = ""

    async def launch(self) -> str:
        """Pass by pass, until the job's pod runs and its run is made; the job's uid."""
        uid = await self.create(SPEC)
        await self.until_pod()
        experiment = await self.mlflow.get_experiment_by_name(experiment_name(self.namespace, NAME))
        tags = [{"key": UID_TAG, "value": uid}, {"key": DIGEST_TAG, "value": DIGEST}]
        asked = {"experiment_id": experiment.id, "tags": tags, "start_time": 1}
        made = await self.mlflow._call("POST", "2.0/mlflow/runs/create", "a run", body=asked)
        self.run_id = made["run"]["info"]["run_id"]
        return uid

    async def until_pod(self) -> None:
        while await self.kube.get(PODS, self.namespace, f"{NAME}-1") is None:
            await self.look()

    async def run(self) -> Run:
        return await self.mlflow.get_run(self.run_id)

    async def end_pod(self) -> None:
        """The kubelet has stopped it; whoever holds it may let go."""
        ended = {"terminated": {"exitCode": 6, "reason": "Error", "message": "", "finishedAt": "2026-01-01T00:00:00Z"}}
        container = {"name": "trainer", "image": "i", "imageID": "i", "restartCount": 0, "ready": False, "state": ended}
        status = {"phase": "Failed", "containerStatuses": [container]}
        await self.kube.merge_patch(PODS, self.namespace, f"{NAME}-1", {"status": status}, "status")

    async def delete(self) -> None:
        """The TrainingJob goes, and the garbage collector takes what it owns; pods stay while they are held."""
        for resource, name in ((TRAININGJOBS, NAME), (JOBS, f"{NAME}-1"), (PODS, f"{NAME}-1")):
            found = await self.kube.get(resource, self.namespace, name)
            if found is not None:
                await self.kube.delete(resource, self.namespace, name, uid=found["metadata"]["uid"])

    async def reconcile(self) -> float | None:
        return await self.reconciler.reconcile(Key(TRAININGJOBS, self.namespace, NAME))

    async def open_runs(self) -> Object:
        found = await self.kube.get(CONFIGMAPS, self.namespace, CONFIGMAP)
        return (found or {}).get("data") or {}


Scenario = Callable[[Job], Awaitable[None]]


@pytest.fixture
def drive(plane: ControlPlane, mlflow_url: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[Scenario], None]:
    def run(scenario: Scenario) -> None:
        async def main() -> None:
            async with KubeClient.session(plane.kubeconfig) as kube, aiohttp.ClientSession() as http:
                servers = Servers(kube, MlflowClient(mlflow_url, *ADMIN, http))
                name = f"gone-{uuid.uuid4().hex[:6]}"
                await servers.mlflow.create_user(name, "password-of-the-tenant")
                monkeypatch.setitem(TENANT, "mlflowUser", name)
                await scenario(Job(servers, name, None))

        asyncio.run(main())

    return run


def killed(run: Run) -> bool:
    return run.status == "KILLED" and run.tags.get(OUTCOME_TAG) == "killed: the TrainingJob was deleted"


def test_a_job_deleted_in_mid_training_leaves_its_run_killed_once_its_pod_has_ended(drive) -> None:
    async def scenario(job: Job) -> None:
        await job.launch()
        await job.delete()
        assert await job.reconcile() is not None  # its pod was there
        assert (await job.run()).status == "RUNNING"

        while await job.reconcile() is not None:
            pass
        run = await job.run()
        assert killed(run)
        assert run.end_time >= datetime.now(UTC).timestamp() * 1000 - 3_600_000
        assert await job.open_runs() == {}

    drive(scenario)


def test_a_job_deleted_between_two_attempts_while_no_operator_ran_is_found_by_the_sweep(drive) -> None:
    async def scenario(job: Job) -> None:
        await job.launch()
        await job.end_pod()
        met = [
            {"type": kind, "status": "True", "reason": "BackoffLimitExceeded"} for kind in ("FailureTarget", "Failed")
        ]
        over = {"startTime": "2026-01-01T00:00:00Z", "failed": 1, "conditions": met}
        await job.kube.merge_patch(JOBS, job.namespace, f"{NAME}-1", {"status": over}, "status")
        while (await status_of(job)).get("state") != "Restarting":
            await job.reconcile()
        await job.reconcile()  # the pod is let go
        await job.delete()

        job.begin(Life())  # another operator, which remembers nothing
        assert Key(TRAININGJOBS, job.namespace, NAME) in await OpenRuns(job.kube, job.namespace).keys()
        await job.reconcile()
        assert killed(await job.run())

    drive(scenario)


def test_the_run_of_a_job_that_came_to_its_end_keeps_its_status(drive) -> None:
    async def scenario(job: Job) -> None:
        uid = await job.launch()
        assert uid in await job.open_runs()
        await job.mlflow._call(
            "POST", "2.0/mlflow/runs/update", "a run", body={"run_id": job.run_id, "status": "FINISHED", "end_time": 7}
        )
        await job.delete()
        await job.end_pod()
        while await job.reconcile() is not None:
            pass
        run = await job.run()
        assert (run.status, run.end_time, run.tags.get(OUTCOME_TAG)) == ("FINISHED", 7, None)
        assert await job.open_runs() == {}

    drive(scenario)


def test_a_run_deleted_in_mlflow_after_the_training_is_waited_for_and_registered_once_it_is_restored(drive) -> None:
    async def scenario(job: Job) -> None:
        await job.create(SPEC)
        await job.until(lambda status: status.get("state") == "Finishing")
        run_id = (await status_of(job))["run"]["id"]
        await job.mlflow._call("POST", "2.0/mlflow/runs/delete", "a run", body={"run_id": run_id})
        status = await job.look()
        assert (status["state"], status["reason"]) == ("Finishing", "RunDeleted")
        assert f"mlflow runs restore --run-id {run_id}" in status["message"]

        await job.mlflow._call("POST", "2.0/mlflow/runs/restore", "a run", body={"run_id": run_id})
        status = await job.look()
        assert (status["state"], status["reason"]) == ("Succeeded", "Registered")

    drive(scenario)


async def status_of(job: Job) -> Status:
    live = await job.kube.get(TRAININGJOBS, job.namespace, NAME)
    return (live or {}).get("status") or {}
