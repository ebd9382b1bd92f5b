"""A ModelService on a real API server with the real Deployment controller; the pods get ready as a kubelet would say.

Above all the operator may die after any of its writes, and the next one ends up where an undisturbed one does.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest

from crds import established
from faults import FaultyClient, Killed
from headrace.kube.client import KubeClient
from headrace.kube.errors import KubeError
from headrace.kube.keys import Key
from headrace.kube.resources import (
    CONTROLLERREVISIONS,
    DEPLOYMENTS,
    HTTPROUTES,
    MODELSERVICES,
    NAMESPACES,
    NETWORKPOLICIES,
    PDBS,
    PODS,
    SERVICES,
    TRAININGJOBS,
    Object,
    Resource,
)
from headrace.labels import REVISION
from headrace.serving.reconcile import ServingReconciler
from headrace.serving.target import RETRY_ANNOTATION
from headrace_common.protocol import PROGRESS_PORT
from headrace_common.serve import ProgressServer
from headrace_loader.progress import Progress
from headrace_local import binaries
from runtime_builders import runtimes
from sandboxes import SAID, bound_and_not_prepared, sandbox_failed
from serving_builders import ROUTE, gateway_answer
from training_builders import SETTINGS

IMAGES = replace(
    SETTINGS,
    tracking=None,
    storage=None,
    loader_image="headrace/loader:1",
    runtimes=runtimes("headrace/o:1"),
    explainer_image="headrace/e:1",
)
KINDS = (CONTROLLERREVISIONS, DEPLOYMENTS, SERVICES, PDBS, NETWORKPOLICIES, HTTPROUTES)
PASSES = 60
RESOURCE_QUOTAS = Resource("", "v1", "resourcequotas", "ResourceQuota")
WAIT_SECONDS = 180.0
LOADER = {"name": "loader", "image": "i", "imageID": "i", "restartCount": 0}
POD_ADDRESS = "127.77.0.16"  # of this machine's, where nobody else listens

Status = dict[str, Any]


class Bench:
    """ModelServices in a namespace of their own, a clock that a test moves, and an operator that is called by hand."""

    def __init__(self, client: KubeClient, http: aiohttp.ClientSession, namespace: str) -> None:
        self.client = client
        self.http = http
        self.namespace = namespace
        self.now = datetime.now(UTC)
        self.broken: set[str] = set()  # revisions whose pods run out of memory
        self.loads = False  # whether the loaders of all pods are still at work
        self.loaded: dict[str, Any] | None = None  # the record that they leave
        self.gateway_refuses = False
        self.settings = IMAGES

    # -- what the user does --------------------------------------------------------------------------------------------

    async def train(self, version: int, name: str = "job") -> None:
        """A TrainingJob has brought out this version."""
        live = await self.client.get(TRAININGJOBS, self.namespace, name)
        if live is None:
            spec = {
                "source": {"configMap": {"name": "code"}},
                "entrypoint": "train.py",
                "strategy": {"type": "SingleWorker"},
            }
            job = {"metadata": {"name": name, "namespace": self.namespace}, "spec": spec}
            live = await self.client.create(TRAININGJOBS, job)
        model = {
            "name": f"{self.namespace}.text",
            "version": str(version),
            "digest": f"sha256:{version:064d}",
            "uri": f"s3://team/models/{version}",
        }
        await self.client.patch_status(TRAININGJOBS, live, {"state": "Succeeded", "model": model})

    async def create(self, name: str = "text", **spec: Any) -> dict[str, Any]:
        asked = {
            "model": {"trainingJob": {"name": "job"}},
            "runtime": {"name": "onnxruntime"},
            "scaling": {"replicas": 2},
            "rollout": {"steps": [{"weight": 50, "hold": "10s"}]},
            "route": ROUTE,
        }
        service = {"metadata": {"name": name, "namespace": self.namespace}, "spec": asked | spec}
        return await self.client.create(MODELSERVICES, service)

    async def until_it_holds_for_pods(self) -> None:
        """A quota is a moment old before the API server refuses pods for it."""
        spec = {"containers": [{"name": "probe", "image": "none"}]}
        probe = {"metadata": {"name": "probe", "namespace": self.namespace}, "spec": spec}
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                try:
                    made = await self.client.create(PODS, probe)
                    await self.client.delete(PODS, self.namespace, "probe", uid=made["metadata"]["uid"])
                except KubeError as error:
                    if "exceeded quota" in str(error):
                        return
                await asyncio.sleep(0.2)

    # -- what the cluster does -----------------------------------------------------------------------------------------

    async def kubelet(self) -> None:
        """Wait for the pods of all revisions, and say of each pod that it is ready, or that it broke. An explainer's
        are not waited for: a new one comes beside the old one, which goes when that is ready.
        """
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                deployments = await self.client.list(DEPLOYMENTS, self.namespace, REVISION)
                pods = [
                    pod
                    for pod in await self.client.list(PODS, self.namespace)
                    if not pod["metadata"].get("deletionTimestamp")
                ]
                wanted = sum(deployment["spec"]["replicas"] for deployment in deployments)
                if sum(REVISION in pod["metadata"]["labels"] for pod in pods) == wanted:
                    break
                await asyncio.sleep(0.05)
        for pod in pods:
            broken = pod["metadata"]["labels"].get(REVISION) in self.broken
            status = self._loading() if self.loads else self._broken() if broken else self._ready()
            if (pod.get("status") or {}).get("message") != status["message"]:
                await self.client.merge_patch(
                    PODS, self.namespace, pod["metadata"]["name"], {"status": status}, "status"
                )

    async def gateway(self) -> None:
        """What a controller of Gateways answers: it has taken up the newest generation of each route."""
        for route in await self.client.list(HTTPROUTES, self.namespace):
            status = gateway_answer(route, refuses=self.gateway_refuses)
            name = route["metadata"]["name"]
            await self.client.merge_patch(HTTPROUTES, self.namespace, name, {"status": status}, "status")

    def _ready(self) -> Status:
        since = (self.now - timedelta(seconds=10)).strftime("%Y-%m-%dT%H:%M:%SZ")
        condition = {"type": "Ready", "status": "True", "lastTransitionTime": since}
        ended = {"exitCode": 0, "message": json.dumps(self.loaded)}
        loaders = [] if self.loaded is None else [{**LOADER, "ready": True, "state": {"terminated": ended}}]
        return {
            "message": "ready",
            "phase": "Running",
            "conditions": [condition],
            "initContainerStatuses": loaders,
            "containerStatuses": [],
        }

    def _loading(self) -> Status:
        loader = {**LOADER, "ready": False, "state": {"running": {}}}
        status = {"message": "loading", "phase": "Pending", "podIP": POD_ADDRESS, "conditions": []}
        return status | {"initContainerStatuses": [loader], "containerStatuses": []}

    def _broken(self) -> Status:
        ended = {"exitCode": 137, "reason": "OOMKilled"}
        container = {
            "name": "server",
            "image": "i",
            "imageID": "i",
            "ready": False,
            "restartCount": 1,
            "state": {"terminated": ended},
        }
        return {"message": "broken", "phase": "Running", "conditions": [], "containerStatuses": [container]}

    # -- what the operator does ----------------------------------------------------------------------------------------

    async def look(self, name: str = "text", seconds: float = 5, client: KubeClient | None = None) -> Status:
        """One pass of the operator, `seconds` after the one before, when the pods are there."""
        self.now += timedelta(seconds=seconds)
        await self.operator(client).reconcile(Key(MODELSERVICES, self.namespace, name))
        await self.kubelet()
        await self.gateway()
        return await self.status(name)

    def operator(self, client: KubeClient | None = None) -> ServingReconciler:
        return ServingReconciler(client or self.client, self.http, self.settings, None, None, now=lambda: self.now)

    async def until(self, condition: Callable[[Status], bool], name: str = "text") -> Status:
        for _ in range(PASSES):
            status = await self.look(name)
            if condition(status):
                return status
        raise AssertionError(f"not after {PASSES} passes: {status}")

    # -- what there is -------------------------------------------------------------------------------------------------

    async def status(self, name: str = "text") -> Status:
        live = await self.client.get(MODELSERVICES, self.namespace, name)
        return (live or {}).get("status") or {}

    async def objects(self) -> set[tuple[str, str]]:
        return {(kind.kind, obj["metadata"]["name"]) for kind, obj in await self._objects()}

    async def owners(self) -> set[str]:
        """The uids of the services that the objects belong to."""
        return {obj["metadata"]["ownerReferences"][0]["uid"] for _, obj in await self._objects()}

    async def _objects(self) -> list[tuple[Resource, Object]]:
        found = []
        for kind in KINDS:
            listed = await self.client.list(kind, self.namespace, "headrace.dev/modelservice")
            found += [(kind, obj) for obj in listed]
        return found

    async def weights(self, name: str = "text") -> dict[str, int]:
        route = await self.client.get(HTTPROUTES, self.namespace, name)
        backends = route["spec"]["rules"][0]["backendRefs"] if route else []
        return {backend["name"]: backend["weight"] for backend in backends}


Scenario = Callable[[Bench], Awaitable[None]]


@pytest.fixture(scope="module")
def gateway_api(kubectl):
    crds = binaries.ensure().gateway_api
    kubectl("apply", "--server-side", "-f", crds)
    established(kubectl.plane, "crd/httproutes.gateway.networking.k8s.io")


@pytest.fixture
def drive(control_plane, gateway_api, namespace) -> Callable[[Scenario], None]:
    def run(scenario: Scenario) -> None:
        async def all_of_it() -> None:
            async with KubeClient.session(control_plane.kubeconfig) as client, aiohttp.ClientSession() as http:
                await scenario(Bench(client, http, namespace))

        asyncio.run(all_of_it())

    return run


def is_stable(status: Status) -> bool:
    return status.get("phase") == "Stable"


def serves(version: int) -> Callable[[Status], bool]:
    return lambda status: is_stable(status) and status["stable"]["model"]["version"] == str(version)


def in_phase(phase: str) -> Callable[[Status], bool]:
    return lambda status: status.get("phase") == phase


def test_status_says_how_far_the_loader_of_a_pod_is_and_is_not_written_more_often_than_it_is_asked(drive):
    async def scenario(bench: Bench) -> None:
        progress = Progress()
        progress.begin(14_000_000_000, 1_200_000_000)
        ProgressServer(POD_ADDRESS, PROGRESS_PORT, lambda: progress.now().as_json()).start()
        operator, bench.loads = bench.operator(), True

        async def look(seconds: float) -> Status:
            bench.now += timedelta(seconds=seconds)
            await operator.reconcile(Key(MODELSERVICES, bench.namespace, "text"))
            await bench.kubelet()
            return await bench.status()

        async def told(count: int) -> Status:
            """A pass does not wait for the answer: one of the next has it."""
            for _ in range(500):
                status = await look(0)
                if ((status.get("canary") or {}).get("load") or {}).get("bytes") == count:
                    return status
            raise AssertionError(f"never {count} bytes: {status}")

        await bench.train(1)
        await bench.create(scaling={"replicas": 1})
        status = await told(1_200_000_000)
        load = status["canary"]["load"]
        assert (load["state"], load["bytes"], load["totalBytes"]) == ("Loading", 1_200_000_000, 14_000_000_000)
        assert f"pod {load['pod']} has 1.2 GB of 14.0 GB of the model" in status["message"]

        progress.add(800_000_000)
        before = await bench.client.get(MODELSERVICES, bench.namespace, "text")
        await look(5)
        await look(5)
        after = await bench.client.get(MODELSERVICES, bench.namespace, "text")
        assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
        await look(5)
        await told(2_000_000_000)

        bench.loads, bench.loaded = False, {"protocol": 1, "outcome": "Succeeded", "bytes": 14_000_000_000}
        bench.loaded |= {"fetchedBytes": 12_800_000_000, "seconds": 120.4}
        await bench.kubelet()
        load = (await look(5))["stable"]["load"]
        assert (load["state"], load["bytes"], load["fetchedBytes"], load["seconds"], load["source"]) == (
            "Loaded",
            14_000_000_000,
            12_800_000_000,
            120,
            "Storage",
        )

    drive(scenario)


def test_a_service_that_the_api_server_does_not_take_says_why(drive):
    async def scenario(bench: Bench) -> None:
        await bench.train(1)
        await bench.create(resources={"limits": {"nvidia.com/gpu": "0.5"}})
        operator = bench.operator()

        for _ in range(4):
            await operator.reconcile(Key(MODELSERVICES, bench.namespace, "text"))

        status = await bench.status()
        assert (status["phase"], status["reason"]) == ("Failed", "Refused")
        assert "nvidia.com/gpu" in status["message"]

    drive(scenario)


def test_pods_that_cannot_be_made_are_told_with_their_controllers_words(drive):
    async def scenario(bench: Bench) -> None:
        quota = {"metadata": {"name": "none", "namespace": bench.namespace}, "spec": {"hard": {"pods": "0"}}}
        await bench.client.create(RESOURCE_QUOTAS, quota)
        await bench.until_it_holds_for_pods()
        await bench.train(1)
        await bench.create()
        operator = bench.operator()

        async with asyncio.timeout(WAIT_SECONDS):
            while (await bench.status()).get("reason") != "PodsRefused":
                await operator.reconcile(Key(MODELSERVICES, bench.namespace, "text"))
                await asyncio.sleep(0.2)

        assert "exceeded quota" in (await bench.status())["message"]

    drive(scenario)


def test_a_sandbox_that_cannot_be_made_is_told_with_the_kubelets_words(drive):
    async def scenario(bench: Bench) -> None:
        await bench.train(1)
        await bench.create(scaling={"replicas": 1})
        operator = bench.operator()

        async def until(reason: str) -> Status:
            async with asyncio.timeout(WAIT_SECONDS):
                while (await bench.status()).get("reason") != reason:
                    await operator.reconcile(Key(MODELSERVICES, bench.namespace, "text"))
                    await asyncio.sleep(0.2)
            return await bench.status()

        async with asyncio.timeout(WAIT_SECONDS):
            while not (pods := await bench.client.list(PODS, bench.namespace, REVISION)):
                await operator.reconcile(Key(MODELSERVICES, bench.namespace, "text"))
                await asyncio.sleep(0.2)
        await bound_and_not_prepared(bench.client, pods[0])
        unknown = await until("VolumesNotReady")
        await sandbox_failed(bench.client, pods[0])
        known = await until("SandboxNotCreated")

        assert f"describe pod {pods[0]['metadata']['name']} names" in unknown["message"]
        assert f"node node-1 cannot set up the pod: {SAID}" in known["message"]

    drive(scenario)


def test_a_namespace_with_a_quota_on_limits_takes_the_pods(drive):
    """There is no LimitRange that gives a container what it does not ask for: each has to."""

    async def scenario(bench: Bench) -> None:
        hard = {"limits.cpu": "4", "limits.memory": "4Gi", "requests.cpu": "2", "requests.memory": "2Gi"}
        quota = {"metadata": {"name": "limits", "namespace": bench.namespace}, "spec": {"hard": hard}}
        await bench.client.create(RESOURCE_QUOTAS, quota)
        await bench.train(1)
        await bench.create(resources={"limits": {"cpu": "500m", "memory": "256Mi"}})

        await bench.until(lambda status: is_stable(status) and status["columns"]["ready"] == "True")

    drive(scenario)


def test_the_scale_subresource_shows_the_stable_revision_also_while_a_canary_runs(drive):
    async def scenario(bench: Bench) -> None:
        await bench.train(1)
        await bench.create(scaling={"replicas": 2})
        await bench.until(is_stable)
        await bench.train(2)
        status = await bench.until(in_phase("Promoting"))
        assert len(await bench.client.list(PODS, bench.namespace)) > 2

        live = await bench.client.get(MODELSERVICES, bench.namespace, "text/scale")  # the subresource
        selected = await bench.client.list(PODS, bench.namespace, live["status"]["selector"])

        assert (live["spec"]["replicas"], live["status"]["replicas"]) == (2, 2)
        revisions = {pod["metadata"]["labels"]["headrace.dev/revision"] for pod in selected}
        assert revisions == {status["stable"]["revision"]}

    drive(scenario)


def test_the_first_revision_becomes_stable_and_a_new_version_takes_over_in_steps(drive):
    async def scenario(bench: Bench) -> None:
        await bench.train(1)
        await bench.create()
        first = (await bench.until(is_stable))["stable"]["revision"]
        assert await bench.weights() == {first: 100}

        await bench.train(2)
        seen: list[int] = []
        for _ in range(PASSES):
            status = await bench.look()
            weights = await bench.weights()
            share = weights.get(status.get("canary", {}).get("revision", ""), 0)
            if share and share not in seen:
                seen.append(share)
            assert sum(weights.values()) == 100
            if serves(2)(status):
                break
        status = await bench.look()
        second = status["stable"]["revision"]

        assert seen == [50, 100]
        assert await bench.weights() == {second: 100}
        assert await bench.objects() == {
            *((kind.kind, second) for kind in (CONTROLLERREVISIONS, DEPLOYMENTS, SERVICES, PDBS)),
            ("Service", "text"),
            ("NetworkPolicy", "text.serving"),
            ("HTTPRoute", "text"),
        }
        assert [record["outcome"] for record in status["history"]] == ["Promoted"]
        assert status["columns"]["stable"] == "2"

    drive(scenario)


def test_a_service_with_nothing_to_do_writes_nothing(drive):
    async def scenario(bench: Bench) -> None:
        await bench.train(1)
        await bench.create()
        await bench.until(is_stable)
        await bench.look()
        before = await bench.client.get(MODELSERVICES, bench.namespace, "text")

        for _ in range(3):
            await bench.look(seconds=60)

        after = await bench.client.get(MODELSERVICES, bench.namespace, "text")
        assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]

    drive(scenario)


def test_a_canary_that_breaks_is_taken_back_and_tried_again_once_when_somebody_asks(drive):
    async def scenario(bench: Bench) -> None:
        await bench.train(1)
        await bench.create()
        first = (await bench.until(is_stable))["stable"]["revision"]
        await bench.train(2)
        canary = (await bench.until(in_phase("Canarying")))["canary"]["revision"]
        bench.broken.add(canary)
        status = await bench.until(in_phase("RolledBack"))

        assert status["failure"]["reason"] == "OutOfMemory"
        assert await bench.weights() == {first: 100}
        assert not any(name == canary for _, name in await bench.objects())

        annotated = {"metadata": {"annotations": {RETRY_ANNOTATION: "2"}}}
        await bench.client.merge_patch(MODELSERVICES, bench.namespace, "text", annotated)
        assert (await bench.look())["phase"] == "Canarying"
        await bench.until(in_phase("RolledBack"))
        for _ in range(3):
            assert (await bench.look())["phase"] == "RolledBack"

    drive(scenario)


async def at_half(bench: Bench) -> str:
    """Version 2 has half of the requests; its revision."""
    await bench.train(1)
    await bench.create(scaling={"replicas": 1})
    await bench.until(is_stable)
    await bench.train(2)
    status = await bench.until(lambda status: (status.get("rollout") or {}).get("appliedWeight") == 50)
    return str(status["canary"]["revision"])


async def delete_pods(bench: Bench, revision: str) -> None:
    for pod in await bench.client.list(PODS, bench.namespace, f"headrace.dev/revision={revision}"):
        await bench.client.delete(PODS, bench.namespace, pod["metadata"]["name"], uid=pod["metadata"]["uid"])


def test_a_canary_whose_only_pod_is_deleted_goes_on_with_the_next_one(drive):
    async def scenario(bench: Bench) -> None:
        canary = await at_half(bench)
        await delete_pods(bench, canary)

        bench.now += timedelta(seconds=1)
        await bench.operator().reconcile(Key(MODELSERVICES, bench.namespace, "text"))
        status = await bench.status()
        assert (status["phase"], status["reason"]) == ("Canarying", "CanaryUnavailable")
        assert canary not in await bench.weights()

        status = await bench.until(serves(2))
        assert status["stable"]["revision"] == canary
        assert "rejected" not in status

    drive(scenario)


def test_a_weight_counts_as_applied_when_a_slow_gateway_has_had_its_time(drive):
    async def scenario(bench: Bench) -> None:
        bench.settings = replace(IMAGES, gateway_throttle=timedelta(seconds=10))
        await bench.train(1)
        await bench.create(scaling={"replicas": 1})
        await bench.until(is_stable)
        await bench.train(2)
        await bench.until(lambda status: (status.get("rollout") or {}).get("desiredWeight") == 50)
        asked = bench.now
        await bench.until(lambda status: (status.get("rollout") or {}).get("appliedWeight") == 50)

        assert bench.now - asked >= timedelta(seconds=20)

    drive(scenario)


def test_a_route_that_the_gateway_refuses_walks_no_steps_until_it_does_not(drive):
    async def scenario(bench: Bench) -> None:
        canary = await at_half(bench)
        bench.gateway_refuses = True
        await bench.until(lambda status: status.get("reason") == "RouteRefused")
        for _ in range(10):
            status = await bench.look(seconds=60)

        assert (status["phase"], status["reason"]) == ("Canarying", "RouteRefused")
        assert "ResolvedRefs is False" in status["message"]
        bench.gateway_refuses = False
        status = await bench.until(serves(2))
        assert status["stable"]["revision"] == canary
        assert "rejected" not in status

    drive(scenario)


def explainer_condition(status: Status) -> tuple[str, str]:
    found = next(c for c in status["conditions"] if c["type"] == "ExplainerReady")
    return found["status"], found["reason"]


def test_an_explainer_follows_what_is_stable_gives_way_to_what_has_its_name_and_goes_with_its_field(drive):
    async def scenario(bench: Bench) -> None:
        """Its Service's name is taken at first."""
        theirs = {"metadata": {"name": "text-explain", "namespace": bench.namespace}, "spec": {"ports": [{"port": 1}]}}
        taken = await bench.client.create(SERVICES, theirs)
        await bench.train(1)
        await bench.create(explain={}, rollout={}, scaling={"replicas": 1})
        first = await bench.until(is_stable)
        operator = bench.operator()
        for _ in range(2):  # the pass after tells it
            await operator.reconcile(Key(MODELSERVICES, bench.namespace, "text"))
        status = await bench.status()
        assert explainer_condition(status) == ("False", "NameInUse")
        assert (status["phase"], status["columns"]["ready"]) == ("Stable", "True")
        await bench.client.delete(SERVICES, bench.namespace, "text-explain", uid=taken["metadata"]["uid"])

        def explains(status: Status) -> bool:
            return is_stable(status) and explainer_condition(status) == ("True", "Explaining")

        status = await bench.until(explains)
        assert status["stable"]["revision"] == first["stable"]["revision"]
        explainer = {("Deployment", "text-explain"), ("Service", "text-explain"), ("HTTPRoute", "text-explain")}
        assert explainer <= await bench.objects()
        before = await bench.client.get(MODELSERVICES, bench.namespace, "text")
        await bench.look(seconds=60)
        after = await bench.client.get(MODELSERVICES, bench.namespace, "text")
        assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"], "it is at rest"

        async def version() -> str:
            live = await bench.client.get(DEPLOYMENTS, bench.namespace, "text-explain")
            [server] = live["spec"]["template"]["spec"]["containers"]
            return str(next(arg for arg in server["args"] if arg.startswith("--model-version=")))

        await bench.train(2)
        await bench.until(in_phase("Canarying"))
        assert await version() == "--model-version=1"
        await bench.until(serves(2))
        assert await version() == "--model-version=2"

        await bench.client.merge_patch(MODELSERVICES, bench.namespace, "text", {"spec": {"explain": None}})
        status = await bench.look()
        assert not explainer & await bench.objects()
        assert "ExplainerReady" not in {condition["type"] for condition in status["conditions"]}
        assert serves(2)(status)

    drive(scenario)


@dataclass(frozen=True)
class End:
    """Where a service is after two versions; `writes` is the most that one pass made."""

    phase: str
    stable: str
    history: tuple[str, ...]
    weights: dict[str, int]
    objects: set[tuple[str, str]]
    writes: int = field(compare=False)


async def first_and_second_version(bench: Bench, die_after: int | None) -> End:
    """From nothing to version 2; the operator is killed after this many writes of each pass, back in a minute."""
    writes = 0

    async def look() -> Status:
        nonlocal writes
        if die_after is not None:
            with suppress(Killed):
                await bench.look(client=FaultyClient.around(bench.client, die_after))
        before, client = await bench.weights(), FaultyClient.around(bench.client)
        status = await bench.look(client=client, seconds=60)
        live = {deployment["metadata"]["name"] for deployment in await bench.client.list(DEPLOYMENTS, bench.namespace)}
        assert before.keys() <= live, "a revision went in the pass that took its weight"
        writes = max(writes, client.writes)
        return status

    await bench.train(1)
    await bench.create(scaling={"replicas": 1})
    for version in (1, 2):
        await bench.train(version)
        for _ in range(30):
            if serves(version)(await look()):
                break
        else:
            raise AssertionError(f"version {version} never served: {await bench.status()}")
    status = await look()
    history = tuple(record["outcome"] for record in status["history"])
    return End(
        status["phase"], status["stable"]["revision"], history, await bench.weights(), await bench.objects(), writes
    )


def test_an_operator_killed_after_any_write_of_any_pass_ends_where_an_undisturbed_one_does(
    control_plane, kubectl, gateway_api, namespace
):
    async def run(name: str, die_after: int | None) -> End:
        async with KubeClient.session(control_plane.kubeconfig) as client, aiohttp.ClientSession() as http:
            return await first_and_second_version(Bench(client, http, name), die_after)

    async def all_of_it() -> None:
        undisturbed = await run(namespace, None)
        deaths = range(undisturbed.writes)
        for k in deaths:
            kubectl("create", "namespace", f"{namespace}-{k}")
        ends = await asyncio.gather(*(run(f"{namespace}-{k}", k) for k in deaths))

        assert undisturbed.writes >= 8  # a pass writes what it changes, and not what stands there already
        assert dict(zip(deaths, ends, strict=True)) == dict.fromkeys(deaths, undisturbed)

    asyncio.run(all_of_it())


def test_a_service_deleted_in_mid_canary_and_made_again_starts_anew(drive):
    async def scenario(bench: Bench) -> None:
        await bench.train(1)
        old = await bench.create()
        await bench.until(is_stable)
        await bench.train(2)
        await bench.until(in_phase("Canarying"))
        await bench.look()
        await bench.client.delete(MODELSERVICES, bench.namespace, "text", uid=old["metadata"]["uid"])
        new = await bench.create()

        status: Status = {}
        async with asyncio.timeout(WAIT_SECONDS):
            # The garbage collector takes what belonged to the first one, its route last perhaps.
            while not is_stable(status) or await bench.owners() != {new["metadata"]["uid"]}:
                status = await bench.look()
        status = await bench.look()

        assert status["stable"]["model"]["version"] == "2"
        assert "history" not in status
        assert await bench.weights() == {status["stable"]["revision"]: 100}

    drive(scenario)


def test_the_second_of_two_services_with_one_host_and_path_gets_no_route_and_says_why(drive):
    async def scenario(bench: Bench) -> None:
        await bench.train(1)
        route = ROUTE | {"path": "/text"}
        await bench.create("first", route=route)
        await bench.create("second", route=route | {"path": "/text/"})
        await bench.until(is_stable, "first")
        status = await bench.until(is_stable, "second")
        await bench.look("first")

        (said,) = [condition for condition in status["conditions"] if condition["type"] == "RouteAccepted"]
        assert (said["status"], said["reason"]) == ("False", "RouteConflict")
        assert f"{bench.namespace}/first" in said["message"]
        assert ("HTTPRoute", "first") in await bench.objects()
        assert ("HTTPRoute", "second") not in await bench.objects()

    drive(scenario)


def test_nobody_of_another_namespace_takes_a_hostname_from_the_service_that_has_it(drive):
    async def scenario(shop: Bench) -> None:
        other = {"metadata": {"name": f"{shop.namespace}-other"}}
        await shop.client.create(NAMESPACES, other)
        evil = Bench(shop.client, shop.http, other["metadata"]["name"])
        mine = ROUTE | {"hostnames": ["shop.example.com"], "path": "/"}
        theirs = ROUTE | {"hostnames": ["*.example.com"], "path": f"/{evil.namespace}/x"}
        for bench in (shop, evil):
            await bench.train(1)
        # Older than the shop's, and for a place that is nobody else's.
        await evil.create("changed", route={"parentRefs": ROUTE["parentRefs"]})
        await evil.until(is_stable, "changed")
        await asyncio.sleep(1)
        await shop.create("shop", route=mine)
        await shop.until(is_stable, "shop")

        await evil.create("new", route=theirs)
        await evil.client.merge_patch(MODELSERVICES, evil.namespace, "changed", {"spec": {"route": theirs}})
        await evil.until(is_stable, "new")
        for name in ("changed", "new", "changed", "new"):
            status = await evil.look(name)
            said = next(found for found in status["conditions"] if found["type"] == "RouteAccepted")
            assert (said["status"], said["reason"]) == ("False", "RouteConflict"), name
            assert f"{shop.namespace}/shop" in said["message"]
            await shop.look("shop")

        assert len(await shop.weights("shop")) == 1
        assert await evil.weights("new") == {}
        kept = await evil.client.get(HTTPROUTES, evil.namespace, "changed")
        assert "hostnames" not in kept["spec"]

    drive(scenario)


def test_a_name_that_somebody_else_has_is_said_once_and_left_alone(drive):
    async def scenario(bench: Bench) -> None:
        await bench.train(1)
        theirs = {"metadata": {"name": "text", "namespace": bench.namespace}, "spec": {"ports": [{"port": 80}]}}
        await bench.client.create(SERVICES, theirs)
        await bench.create()
        await bench.until(lambda status: status.get("reason") == "NameInUse")
        before = await bench.client.get(MODELSERVICES, bench.namespace, "text")

        for _ in range(3):
            await bench.look()

        after = await bench.client.get(MODELSERVICES, bench.namespace, "text")
        service = await bench.client.get(SERVICES, bench.namespace, "text")
        assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
        assert "ownerReferences" not in service["metadata"]

    drive(scenario)
