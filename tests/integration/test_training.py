"""A TrainingJob on a real API server with the real Job controller; the pods' ends are written as a kubelet would.

Above all the operator may die after any of its writes, and the next one ends up where an undisturbed one does.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest

import thorough
from faults import FaultyClient, Killed, moments
from headrace.kube.client import KubeClient
from headrace.kube.errors import KubeError
from headrace.kube.keys import Key
from headrace.kube.resources import CONFIGMAPS, JOBS, PODS, SERVICES, TRAININGJOBS
from headrace.tracking.errors import TrackingForbidden
from headrace.tracking.records import Experiment
from headrace.training.reconcile import TrainingReconciler
from headrace.uninstall import release_pods
from sandboxes import SAID, bound_and_not_prepared, sandbox_failed
from training_builders import MADE, PREPARE, SETTINGS

Status = dict[str, Any]
Until = Callable[[Status], bool]

NO_TRACKING = replace(SETTINGS, tracking=None, storage=None)
WAIT_SECONDS = 180.0
# Where a record says that its dataset lies is not believed.
CLAIMED = MADE | {"uri": MADE["uri"].replace("team-a", "team-b")}
SCRIPTS = {"train.py": "print()", "prepare.py": "print()"}


class Bench:
    """One TrainingJob in a namespace of its own, and an operator that is called by hand."""

    def __init__(self, client: KubeClient, http: aiohttp.ClientSession, namespace: str, name: str = "text") -> None:
        self.client = client
        self.http = http
        self.namespace = namespace
        self.name = name
        self.key = Key(TRAININGJOBS, namespace, name)

    async def create(self, **spec: Any) -> dict[str, Any]:
        script = {"metadata": {"name": "code", "namespace": self.namespace}, "data": SCRIPTS}
        if await self.client.get(CONFIGMAPS, self.namespace, "code") is None:
            await self.client.create(CONFIGMAPS, script)
        job = {
            "metadata": {"name": self.name, "namespace": self.namespace},
            "spec": {
                "source": {"configMap": {"name": "code"}},
                "entrypoint": "train.py",
                "strategy": {"type": "MultiWorkerMirrored", "workers": 2},
            }
            | spec,
        }
        return await self.client.create(TRAININGJOBS, job)

    ledger: Any = None

    def operator(self, client: KubeClient | None = None) -> TrainingReconciler:
        settings = replace(SETTINGS if self.ledger is not None else NO_TRACKING, operator_namespace=self.namespace)
        return TrainingReconciler(client or self.client, self.http, settings, self.ledger)

    async def settle(self, until: Until, client: KubeClient | None = None) -> Status:
        """Reconcile, as the queue would, until the status is as asked."""
        operator = self.operator(client)
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                try:
                    again = await operator.reconcile(self.key)
                except KubeError:
                    again = 0.1
                status = await self.status()
                if until(status):
                    return status
                await asyncio.sleep(min(again if again is not None else 0.2, 0.2))

    async def status(self) -> dict[str, Any]:
        live = await self.client.get(TRAININGJOBS, self.namespace, self.name)
        return (live or {}).get("status") or {}

    async def pods(self, attempt: int, count: int = 2) -> list[dict[str, Any]]:
        """The attempt's pods, once the Job controller has made all."""
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                pods = await self.client.list(
                    PODS, self.namespace, f"headrace.dev/trainingjob={self.name},headrace.dev/attempt={attempt}"
                )
                if len(pods) == count:
                    return sorted(pods, key=lambda pod: pod["metadata"]["name"])
                await asyncio.sleep(0.1)

    async def end(
        self, pod: dict[str, Any], exit_code: int, record: dict[str, Any], at: datetime | None = None
    ) -> None:
        """Write a pod's end as its kubelet would."""
        moment = datetime.now(UTC)
        message = json.dumps({"protocol": 1, "time": int(moment.timestamp() * 1000)} | record)
        terminated = {
            "exitCode": exit_code,
            "reason": "Completed" if exit_code == 0 else "Error",
            "message": message,
            "finishedAt": moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        status = {
            "phase": "Succeeded" if exit_code == 0 else "Failed",
            "containerStatuses": [
                {
                    "name": "trainer",
                    "image": "i",
                    "imageID": "i@sha256:1",
                    "ready": False,
                    "restartCount": 0,
                    "state": {"terminated": terminated},
                }
            ],
        }
        name = pod["metadata"]["name"]
        await self.client.merge_patch(PODS, self.namespace, name, {"status": status}, "status")


@pytest.fixture
def drive(control_plane, namespace) -> Callable[[Callable[[Bench], Awaitable[None]]], None]:
    @asynccontextmanager
    async def bench():
        async with KubeClient.session(control_plane.kubeconfig) as client, aiohttp.ClientSession() as http:
            yield Bench(client, http, namespace)

    def run(scenario: Callable[[Bench], Awaitable[None]]) -> None:
        async def all_of_it() -> None:
            async with bench() as made:
                await scenario(made)

        asyncio.run(all_of_it())

    return run


def has_job(status: dict[str, Any]) -> bool:
    return bool(status.get("attempt", {}).get("jobUID"))


def in_state(*states: str) -> Callable[[dict[str, Any]], bool]:
    return lambda status: status.get("state") in states


RAISED = {"outcome": "Failed", "class": "UserCode", "reason": "ScriptRaised", "message": "ValueError: x", "exitCode": 1}


def test_a_training_job_becomes_an_indexed_job_of_n_workers_with_its_service(drive):
    async def scenario(bench: Bench) -> None:
        created = await bench.create()
        await bench.settle(has_job)

        job = await bench.client.get(JOBS, bench.namespace, "text-1")
        service = await bench.client.get(SERVICES, bench.namespace, "text-1")
        copy = await bench.client.get(CONFIGMAPS, bench.namespace, "text-source")
        pods = await bench.pods(1)

        assert job["spec"]["completions"] == 2
        assert service["spec"]["clusterIP"] == "None"
        assert copy["immutable"] is True
        assert [pod["metadata"]["labels"]["headrace.dev/trainingjob-uid"] for pod in pods] == [
            created["metadata"]["uid"]
        ] * 2

    drive(scenario)


def test_workers_that_end_well_make_the_job_succeed_and_their_pods_are_let_go(drive):
    async def scenario(bench: Bench) -> None:
        await bench.create()
        await bench.settle(has_job)
        for pod in await bench.pods(1):
            await bench.end(pod, 0, {"outcome": "Succeeded", "metrics": {"loss": 0.25}})

        status = await bench.settle(in_state("Succeeded", "Failed"))
        await bench.settle(lambda _: True)

        assert (status["state"], status["metrics"]) == ("Succeeded", {"loss": "0.25"})
        held = [pod["metadata"].get("finalizers", []) for pod in await bench.pods(1)]
        assert not any("headrace.dev/record" in finalizers for finalizers in held)

    drive(scenario)


def test_the_first_cause_is_told_and_the_next_attempt_is_made(drive):
    async def scenario(bench: Bench) -> None:
        await bench.create()
        await bench.settle(has_job)
        chief, other = await bench.pods(1)
        await bench.end(other, 1, RAISED)
        await bench.end(chief, 5, {"outcome": "Failed", "class": "Peer", "reason": "PeerLost", "lostPeer": 1})

        failed = await bench.settle(in_state("Restarting"))
        again = await bench.settle(lambda status: status["attempt"]["number"] == 2 and has_job(status))

        assert failed["failure"]["class"] == "UserCode"
        assert failed["failure"]["pod"] == other["metadata"]["name"]
        assert failed["failure"]["message"] == "ValueError: x"
        assert failed["attemptsCounted"] == 1
        assert again["history"][0]["reason"] == "ScriptRaised"
        assert len(await bench.pods(2)) == 2

    drive(scenario)


def test_a_source_that_comes_later_is_waited_for(drive):
    async def scenario(bench: Bench) -> None:
        await bench.create(source={"configMap": {"name": "later"}})
        waiting = await bench.settle(in_state("Pending"))
        assert waiting["reason"] == "SourceNotFound"
        assert await bench.client.get(JOBS, bench.namespace, "text-1") is None

        script = {"metadata": {"name": "later", "namespace": bench.namespace}, "data": {"train.py": "print()"}}
        await bench.client.create(CONFIGMAPS, script)

        await bench.settle(has_job)

    drive(scenario)


def test_a_job_deleted_and_made_again_under_its_name_waits_for_the_old_pods(drive):
    async def scenario(bench: Bench) -> None:
        first = await bench.create()
        await bench.settle(has_job)
        old = await bench.pods(1)
        await bench.client.delete(TRAININGJOBS, bench.namespace, "text", uid=first["metadata"]["uid"])
        second = await bench.create()

        await bench.settle(lambda status: has_job(status))

        job = await bench.client.get(JOBS, bench.namespace, "text-1")
        assert job["metadata"]["ownerReferences"][0]["uid"] == second["metadata"]["uid"]
        pods = await bench.pods(1)
        assert not {pod["metadata"]["uid"] for pod in pods} & {pod["metadata"]["uid"] for pod in old}

    drive(scenario)


def test_pods_of_a_job_that_is_gone_are_let_go(drive):
    async def scenario(bench: Bench) -> None:
        made = await bench.create()
        await bench.settle(has_job)
        await bench.pods(1)
        await bench.client.delete(TRAININGJOBS, bench.namespace, "text", uid=made["metadata"]["uid"])

        async with asyncio.timeout(WAIT_SECONDS):
            while await bench.client.list(PODS, bench.namespace) or await bench.client.list(JOBS, bench.namespace):
                with suppress(KubeError):
                    await bench.operator().reconcile(bench.key)
                await asyncio.sleep(0.2)

    drive(scenario)


def test_a_job_that_was_suspended_goes_on_with_what_its_attempts_left_of_the_deadline(drive):
    async def scenario(bench: Bench) -> None:
        await bench.create(activeDeadlineSeconds=3600)
        running = await bench.settle(lambda status: "activeSince" in status.get("attempt", {}))
        await bench.pods(1)
        await asyncio.sleep(2)
        await bench.client.merge_patch(TRAININGJOBS, bench.namespace, "text", {"spec": {"suspend": True}})
        stopped = await bench.settle(in_state("Suspended"))
        await asyncio.sleep(2)
        await bench.client.merge_patch(TRAININGJOBS, bench.namespace, "text", {"spec": {"suspend": False}})

        await bench.settle(lambda status: status["attempt"]["number"] == 2 and has_job(status))

        job = await bench.client.get(JOBS, bench.namespace, "text-2")
        assert running["attempt"]["activeSince"]
        assert 2 <= stopped["activeSeconds"] <= 60
        assert job["spec"]["activeDeadlineSeconds"] == 3600 - stopped["activeSeconds"]

    drive(scenario)


class Fickle:
    """A registry that gives an experiment until it has `refuses` to raise."""

    refuses: Exception | None = None

    async def ensure_experiment(self, namespace: str, name: str, bucket: str, tenant_user: str) -> Experiment:
        if self.refuses is not None:
            raise self.refuses
        return Experiment("7", f"{namespace}/{name}", f"s3://{bucket}")

    async def check_run_of(self, experiment_id: str, uid: str) -> None:
        pass


def test_a_registry_that_refuses_the_second_attempt_ends_the_job_with_the_first_in_its_history_once(drive):
    async def scenario(bench: Bench) -> None:
        bench.ledger = Fickle()
        tenant = {"metadata": {"name": "headrace-tenant", "namespace": bench.namespace}, "data": {"bucket": "team-a"}}
        await bench.client.create(CONFIGMAPS, tenant)
        await bench.create(tracking={"experiment": "x"}, startDeadlineSeconds=1)
        await bench.settle(has_job)
        for pod in await bench.pods(1):
            await bench.end(pod, 1, RAISED)
        await bench.settle(in_state("Restarting"))
        bench.ledger.refuses = TrackingForbidden("not yours")

        status = await bench.settle(in_state("Failed"))

        assert status["failure"]["reason"] == "TrackingForbidden"
        assert [entry["attempt"] for entry in status["history"]] == [1]

    drive(scenario)


@pytest.mark.parametrize(
    "spec",
    [
        {"resources": {"limits": {"nvidia.com/gpu": "0.5"}}},
        {"podTemplate": {"spec": {"containers": [{"name": "trainer"}, {"name": "no-image"}]}}},
    ],
)
def test_a_job_that_the_api_server_does_not_take_ends_and_says_why(drive, spec):
    async def scenario(bench: Bench) -> None:
        await bench.create(**spec)

        status = await bench.settle(in_state("Failed"))

        assert (status["failure"]["class"], status["failure"]["reason"]) == ("Config", "Refused")
        assert "spec.template.spec.containers" in status["message"]

    drive(scenario)


def test_pods_that_cannot_be_made_are_told_with_the_job_controllers_words(drive):
    async def scenario(bench: Bench) -> None:
        await bench.create(serviceAccountName="nobody-here")

        status = await bench.settle(lambda status: status.get("reason") == "PodsRefused")

        assert status["state"] == "Starting"
        assert "0 of 2 pods" in status["message"]
        assert "nobody-here" in status["message"]

    drive(scenario)


def test_a_sandbox_that_cannot_be_made_is_told_with_the_kubelets_words(drive):
    async def scenario(bench: Bench) -> None:
        await bench.create(strategy={"type": "SingleWorker"})
        await bench.settle(has_job)
        [pod] = await bench.pods(1, 1)
        await bound_and_not_prepared(bench.client, pod)
        unknown = await bench.settle(lambda status: status.get("reason") == "VolumesNotReady")
        await sandbox_failed(bench.client, pod)

        status = await bench.settle(lambda status: status.get("reason") == "SandboxNotCreated")

        assert (unknown["state"], status["state"]) == ("Starting", "Starting")
        assert f"node node-1 cannot set up the pod: {SAID}" in status["message"]
        assert "runtimeClassName" in status["message"]

    drive(scenario)


def test_a_pod_of_somebody_else_with_the_labels_of_a_training_pod_is_no_worker(drive):
    async def scenario(bench: Bench) -> None:
        await bench.create()
        await bench.settle(has_job)
        pods = await bench.pods(1)
        # Those of Headrace only: what has the Job's own labels too, its controller takes for its own and ends.
        labels = {key: value for key, value in pods[0]["metadata"]["labels"].items() if "headrace" in f"{key} {value}"}
        copied = {"name": "copied", "namespace": bench.namespace, "labels": labels}
        spec = {"containers": [{"name": "trainer", "image": "x"}]}
        await bench.client.create(PODS, {"metadata": copied, "spec": spec})

        # Two workers of one index are more than the API server takes: nothing of the status would be written any more.
        await bench.operator().reconcile(bench.key)

        workers = (await bench.status())["workers"]
        assert [worker["pod"] for worker in workers] == [pod["metadata"]["name"] for pod in pods]

    drive(scenario)


def test_uninstalling_lets_go_of_held_pods_also_of_one_with_labels_of_somebody_else(drive, control_plane):
    async def scenario(bench: Bench) -> None:
        await bench.create()
        await bench.settle(has_job)
        await bench.pods(1)
        odd = {
            "metadata": {
                "name": "odd",
                "namespace": bench.namespace,
                "labels": {"app.kubernetes.io/managed-by": "headrace", "headrace.dev/attempt": "two"},
                "finalizers": ["headrace.dev/record"],
            },
            "spec": {"containers": [{"name": "x", "image": "x"}]},
        }
        await bench.client.create(PODS, odd)

        await release_pods(control_plane.kubeconfig, (bench.namespace,))

        left = await bench.client.list(PODS, bench.namespace)
        assert len(left) == 3
        assert not any("headrace.dev/record" in pod["metadata"].get("finalizers", []) for pod in left)

    drive(scenario)


async def live_through(bench: Bench, client: KubeClient | None = None) -> None:
    """Start, fail once, run again, succeed; the operator writes through `client`. What was done is not repeated."""
    await bench.settle(has_job, client)
    status = await bench.status()
    if not status.get("history"):
        chief, other = await bench.pods(1)
        if not chief["status"].get("containerStatuses"):
            await bench.end(chief, 1, RAISED)
            await bench.end(other, 6, {"outcome": "Interrupted", "class": "Disrupted", "reason": "Terminated"})
    await bench.settle(lambda status: status["attempt"]["number"] == 2 and has_job(status), client)
    for pod in await bench.pods(2):
        if not pod["status"].get("containerStatuses"):
            await bench.end(pod, 0, {"outcome": "Succeeded", "metrics": {"loss": 0.5}})
    await bench.settle(in_state("Succeeded", "Failed"), client)


async def what_became(bench: Bench) -> dict[str, Any]:
    """What must be the same however often the operator died: no names of pods, no times."""
    status = await bench.status()
    jobs = await bench.client.list(JOBS, bench.namespace, f"headrace.dev/trainingjob={bench.name}")
    return {
        "state": status["state"],
        "attempt": status["attempt"]["number"],
        "counted": status["attemptsCounted"],
        "history": [(entry["attempt"], entry["outcome"], entry["reason"]) for entry in status["history"]],
        "metrics": status["metrics"],
        "jobs": sorted(job["metadata"]["name"].removeprefix(bench.name) for job in jobs),
    }


def test_an_operator_killed_after_any_write_changes_nothing_of_what_becomes(drive):
    """A fresh job for each k, its operator killed after write k (0: before the first), carried on by another: one
    between any two kinds of writes, and in the whole after every write.
    """

    async def scenario(bench: Bench) -> None:
        undisturbed = Bench(bench.client, bench.http, bench.namespace, "undisturbed")
        await undisturbed.create()
        counting = FaultyClient.around(bench.client)
        await live_through(undisturbed, counting)
        expected = await what_became(undisturbed)
        assert expected["history"] == [(1, "Failed", "ScriptRaised"), (2, "Succeeded", "Trained")]

        async def killed_after(k: int) -> None:
            mine = Bench(bench.client, bench.http, bench.namespace, f"killed-{k}")
            await mine.create()
            with suppress(Killed):
                await live_through(mine, FaultyClient.around(bench.client, k))
            await live_through(mine)
            assert await what_became(mine) == expected, f"killed after write {k}"

        await asyncio.gather(*map(killed_after, thorough.first_of_each(moments(counting.written))))

    drive(scenario)


async def prepare_and_train(bench: Bench, client: KubeClient | None = None) -> None:
    """Fail once in the preparation, prepare, train; the operator writes through `client`. What was done is not
    repeated.
    """
    await bench.settle(has_job, client)
    for number, code, record in ((1, 1, RAISED), (2, 0, {"outcome": "Succeeded", "dataset": CLAIMED})):
        if len((await bench.status()).get("history", ())) < number:
            await bench.settle(lambda status, n=number: status["attempt"]["number"] == n and has_job(status), client)
            [pod] = await bench.pods(number, count=1)
            if not pod["status"].get("containerStatuses"):
                await bench.end(pod, code, record)
    await bench.settle(lambda status: status["attempt"]["number"] == 3 and has_job(status), client)
    for pod in await bench.pods(3):
        if not pod["status"].get("containerStatuses"):
            await bench.end(pod, 0, {"outcome": "Succeeded", "metrics": {"loss": 0.5}})
    await bench.settle(in_state("Succeeded", "Failed"), client)


async def make_tenant(bench: Bench) -> None:
    metadata = {"name": "headrace-tenant", "namespace": bench.namespace}
    await bench.client.create(CONFIGMAPS, {"metadata": metadata, "data": {"bucket": "team-a"}})


def test_a_job_with_a_preparation_prepares_and_then_trains_on_the_dataset(drive):
    async def scenario(bench: Bench) -> None:
        await make_tenant(bench)
        await bench.create(prepare=PREPARE)
        first = await bench.settle(has_job)
        job = await bench.client.get(JOBS, bench.namespace, "text-1")
        assert (job["spec"]["completions"], first["columns"]["progress"]) == (1, "prepare")

        await prepare_and_train(bench)

        status = await bench.status()
        [trainer] = (await bench.client.get(JOBS, bench.namespace, "text-3"))["spec"]["template"]["spec"]["containers"]
        told = json.loads(next(one["value"] for one in trainer["env"] if one["name"] == "HEADRACE_CONFIG"))
        assert told["datasets"] == [
            {"name": "corpus", "uri": MADE["uri"], "path": "/data/corpus", "digest": MADE["digest"]}
        ]
        assert status["state"] == "Succeeded"
        assert [(stage["name"], stage["state"], stage["attempts"]) for stage in status["stages"]] == [
            ("Prepare", "Succeeded", 2),
            ("Train", "Succeeded", 1),
        ]
        assert status["dataset"] == MADE

    drive(scenario)


def test_a_preparation_in_a_namespace_that_is_no_tenant_waits_for_it(drive):
    async def scenario(bench: Bench) -> None:
        await bench.create(prepare=PREPARE)

        status = await bench.settle(in_state("Pending"))

        assert (status["reason"], status["stage"]) == ("TenantNotFound", "Prepare")
        assert await bench.client.get(JOBS, bench.namespace, "text-1") is None

    drive(scenario)


class Remembering(Fickle):
    """A registry that tells whose runs it has ended."""

    def __init__(self) -> None:
        self.killed: list[str] = []

    async def kill_run(self, experiment_id: str, uid: str, ended: datetime, tags: dict[str, str]) -> None:
        self.killed.append(uid)


def test_a_job_deleted_in_its_preparation_has_the_runs_of_both_ended(drive):
    async def scenario(bench: Bench) -> None:
        bench.ledger = Remembering()
        await make_tenant(bench)
        made = await bench.create(prepare=PREPARE, tracking={"experiment": "x"})
        await bench.settle(has_job)
        uid = made["metadata"]["uid"]
        await bench.client.delete(TRAININGJOBS, bench.namespace, "text", uid=uid)

        async with asyncio.timeout(WAIT_SECONDS):
            while not bench.ledger.killed:
                with suppress(KubeError):
                    await bench.operator().reconcile(bench.key)
                await asyncio.sleep(0.2)

        assert bench.ledger.killed == [uid, f"{uid}/prepare", f"{uid}/evaluate"]

    drive(scenario)


def test_an_operator_killed_after_any_write_of_either_stage_changes_nothing_of_what_becomes(drive):
    async def scenario(bench: Bench) -> None:
        await make_tenant(bench)
        undisturbed = Bench(bench.client, bench.http, bench.namespace, "undisturbed")
        await undisturbed.create(prepare=PREPARE)
        counting = FaultyClient.around(bench.client)
        await prepare_and_train(undisturbed, counting)
        expected = await what_became(undisturbed)
        assert expected["history"] == [
            (1, "Failed", "ScriptRaised"),
            (2, "Succeeded", "Prepared"),
            (3, "Succeeded", "Trained"),
        ]

        async def killed_after(k: int) -> None:
            mine = Bench(bench.client, bench.http, bench.namespace, f"killed-{k}")
            await mine.create(prepare=PREPARE)
            with suppress(Killed):
                await prepare_and_train(mine, FaultyClient.around(bench.client, k))
            await prepare_and_train(mine)
            assert await what_became(mine) == expected, f"killed after write {k}"

        await asyncio.gather(*map(killed_after, thorough.first_of_each(moments(counting.written))))

    drive(scenario)
