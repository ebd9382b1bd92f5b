"""The whole operator with ModelServices at rest: real API server, Deployment controller and MLflow, requests counted.

The tests share one operator and use a service each, so that each may disturb its own.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from audit_log import AuditLog
from crds import established
from headrace.kube.client import KubeClient
from headrace.kube.resources import (
    DEPLOYMENTS,
    HTTPROUTES,
    MODELSERVICES,
    NETWORKPOLICIES,
    PDBS,
    SERVICES,
    Resource,
)
from headrace.serving.network import policy_name
from headrace.tracking.aliases import SLOT_SECONDS
from headrace.tracking.client import CALL_SECONDS, MlflowClient
from headrace.tracking.ledger import Ledger
from headrace_common.tags import DIGEST_TAG
from headrace_local import binaries, platform, ports
from headrace_local.controlplane import ControlPlane
from integration.kube_fixtures import until
from thorough import thorough

REPOSITORY = Path(__file__).resolve().parents[2]
SERVICES_AT_REST = 8
QUIET_SECONDS = 45.0
# For what takes a slot, on a machine that has much other work.
PATIENCE_SECONDS = 120.0
SEARCH = "GET /api/2.0/mlflow/registered-models/search"
ROUTE = {"parentRefs": [{"name": "headrace", "namespace": "headrace-system"}]}


class Relay:
    """Hands requests on to MLflow and counts them; while it is `away` it refuses them, while it is `hanging` it takes
    them and never answers.
    """

    def __init__(self, target: str) -> None:
        self.seen: Counter[str] = Counter()
        self.away = False
        self.answers = threading.Event()
        self.answers.set()
        relay = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                relay.seen[f"{self.command} {self.path.partition('?')[0]}"] += 1
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if not relay.answers.is_set():
                    relay.answers.wait(60)
                    self.close_connection = True
                    return
                status, answer = (503, b"away") if relay.away else relay.ask(self, target, body)
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_POST = do_GET

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    @staticmethod
    def ask(handler: BaseHTTPRequestHandler, target: str, body: bytes) -> tuple[int, bytes]:
        kept = {name: handler.headers[name] for name in ("Authorization", "Content-Type") if handler.headers[name]}
        request = urllib.request.Request(f"{target}{handler.path}", body or None, kept, method=handler.command)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    @contextmanager
    def hanging(self) -> Iterator[None]:
        self.answers.clear()
        try:
            yield
        finally:
            self.answers.set()

    @contextmanager
    def running(self) -> Iterator[None]:
        thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self.server.shutdown()
            self.server.server_close()


@dataclass(frozen=True)
class World:
    plane: ControlPlane
    audit: AuditLog
    mlflow_url: str
    relay: Relay
    namespace: str

    def requests(self) -> list[str]:
        """What the operator asked of the API server so far, its lease left out."""
        own = [entry for entry in self.audit.entries() if entry.get("userAgent") == "headrace"]
        return [f"{entry['verb']} {entry['requestURI']}" for entry in own if "/leases/" not in entry["requestURI"]]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder, (port,) = tmp_path_factory.mktemp("at-rest"), ports.free(1)
    url, namespace = f"http://127.0.0.1:{port}", f"test-{uuid.uuid4().hex[:12]}"
    relay = Relay(url)
    (folder / "mlflow").mkdir()
    with (
        ControlPlane.start(folder / "plane", audit_log=True, controller_manager=True) as plane,
        platform.mlflow(folder / "mlflow", port),
        relay.running(),
    ):
        for manifests in (REPOSITORY / "crds", binaries.ensure().gateway_api):
            plane.run_kubectl("apply", "--server-side", "--filename", manifests)
        established(plane, "crd", "--all")
        plane.run_kubectl("create", "namespace", namespace)
        world = World(plane, AuditLog(plane), url, relay, namespace)
        with platform.operator(plane.kubeconfig, folder / "operator.log", relay.url):
            asyncio.run(make_services(world))
            yield world


async def new_service(kube: KubeClient, mlflow: MlflowClient, namespace: str, name: str, **spec: Any) -> None:
    """A model with two versions, and a service that follows its alias `candidate`, which is at the first."""
    await Ledger(mlflow).ensure_model(namespace, name, "")
    for version in (1, 2):
        tags = {DIGEST_TAG: f"sha256:{version:064d}"}
        await mlflow.create_model_version(f"{namespace}.{name}", f"s3://team/{name}/{version}", "", tags)
    await mlflow.set_alias(f"{namespace}.{name}", "candidate", "1")
    follows = {
        "model": {"registry": {"name": name, "alias": "candidate"}},
        "runtime": {"name": "onnxruntime"},
        "route": ROUTE | {"path": f"/{name}"},
    }
    await kube.create(MODELSERVICES, {"metadata": {"name": name, "namespace": namespace}, "spec": follows | spec})


async def make_services(world: World) -> None:
    """Services that follow an alias, stable and looked at once more."""
    async with KubeClient.session(world.plane.kubeconfig) as kube, aiohttp.ClientSession() as http:
        mlflow = MlflowClient(world.mlflow_url, *platform.ADMIN, http)
        for number in range(SERVICES_AT_REST):
            await new_service(kube, mlflow, world.namespace, f"text-{number}")

        async def are_stable() -> bool:
            await asyncio.to_thread(world.plane.make_pods_ready, world.namespace)
            services = await kube.list(MODELSERVICES, world.namespace)
            return all((service.get("status") or {}).get("phase") == "Stable" for service in services)

        await until(are_stable, 120, "stable services", every=1.0)
        await asyncio.sleep(SLOT_SECONDS + 5)


@pytest.fixture
def drive(world: World) -> Callable[[Callable[..., Any]], None]:
    def run(scenario: Callable[..., Any]) -> None:
        async def all_of_it() -> None:
            async with KubeClient.session(world.plane.kubeconfig) as kube, aiohttp.ClientSession() as http:
                await scenario(kube, MlflowClient(world.mlflow_url, *platform.ADMIN, http))

        asyncio.run(all_of_it())

    return run


async def status_of(kube: KubeClient, namespace: str, name: str) -> dict[str, Any]:
    live = await kube.get(MODELSERVICES, namespace, name)
    assert live is not None
    return dict(live["status"])


def test_services_at_rest_cost_the_api_server_nothing_and_mlflow_one_request_a_slot(world: World) -> None:
    before, asked = len(world.requests()), Counter(world.relay.seen)
    time.sleep(QUIET_SECONDS)

    assert world.requests()[before:] == []
    new = world.relay.seen - asked
    assert new.keys() == {SEARCH}
    assert QUIET_SECONDS // SLOT_SECONDS <= new.total() <= QUIET_SECONDS // SLOT_SECONDS + 1


@pytest.mark.parametrize("service", ["text-0", thorough("text-1"), thorough("text-2")])
def test_a_moved_alias_is_noticed_in_time_and_by_its_service_alone(world: World, drive: Any, service: str) -> None:
    async def scenario(kube: KubeClient, mlflow: MlflowClient) -> None:
        before, asked = len(world.requests()), world.relay.seen[SEARCH]
        await mlflow.set_alias(f"{world.namespace}.{service}", "candidate", "2")

        async def is_noticed() -> bool:
            return len(world.requests()) > before

        async def is_rolled_out() -> bool:
            return (await status_of(kube, world.namespace, service))["phase"] == "Canarying"

        await until(is_noticed, PATIENCE_SECONDS, "a first request of a service at rest")
        # The one before may have begun when the alias was not moved yet.
        assert world.relay.seen[SEARCH] - asked <= 2, "it is noticed by the first reading"
        await until(is_rolled_out, PATIENCE_SECONDS, "a rollout")
        others = {f"text-{number}" for number in range(3, SERVICES_AT_REST)}
        assert not [request for request in world.requests()[before:] if request.rpartition("/")[2] in others]

    drive(scenario)


@pytest.mark.parametrize(
    "kind", [DEPLOYMENTS, SERVICES, PDBS, NETWORKPOLICIES, HTTPROUTES], ids=lambda kind: kind.plural
)
def test_what_somebody_deletes_is_back_at_once(world: World, drive: Any, kind: Resource) -> None:
    async def scenario(kube: KubeClient, _: MlflowClient) -> None:
        service = "text-3"
        stable = (await status_of(kube, world.namespace, service))["stable"]["revision"]
        name = {HTTPROUTES: service, NETWORKPOLICIES: policy_name(service)}.get(kind, stable)
        old = await kube.get(kind, world.namespace, name)
        assert old is not None
        await kube.delete(kind, world.namespace, name, uid=old["metadata"]["uid"])

        async def is_back() -> bool:
            new = await kube.get(kind, world.namespace, name)
            return new is not None and new["metadata"]["uid"] != old["metadata"]["uid"]

        # A watch tells it: without one it would be minutes.
        await until(is_back, 30, f"a new {kind.kind}")

    drive(scenario)


def test_an_mlflow_that_is_away_is_told_and_so_is_its_return(world: World, drive: Any) -> None:
    async def scenario(kube: KubeClient, _: MlflowClient) -> None:
        async def reason() -> str:
            conditions = (await status_of(kube, world.namespace, "text-4"))["conditions"]
            return str(next(entry["reason"] for entry in conditions if entry["type"] == "ModelResolved"))

        async def is_told() -> bool:
            return await reason() == "TrackingUnavailable"

        async def is_resolved() -> bool:
            return await reason() == "Resolved"

        world.relay.away = True
        try:
            await until(is_told, PATIENCE_SECONDS, "the outage in status")
        finally:
            world.relay.away = False
        await until(is_resolved, PATIENCE_SECONDS, "the model again")

    drive(scenario)


def test_a_canary_is_turned_back_at_once_while_mlflow_takes_requests_and_answers_none(world: World, drive: Any) -> None:
    name = "canary"

    async def scenario(kube: KubeClient, mlflow: MlflowClient) -> None:
        await new_service(kube, mlflow, world.namespace, name, rollout={"steps": [{"weight": 10, "hold": "1h"}]})

        async def phase() -> str:
            await asyncio.to_thread(world.plane.make_pods_ready, world.namespace)
            live = await kube.get(MODELSERVICES, world.namespace, name)
            return str(((live or {}).get("status") or {}).get("phase"))

        async def is_stable() -> bool:
            return await phase() == "Stable"

        async def is_canarying() -> bool:
            return await phase() == "Canarying"

        async def is_over() -> bool:
            return await phase() == "RolledBack"

        async def is_turned_back() -> bool:
            return bool((await status_of(kube, world.namespace, name)).get("rejected"))

        await until(is_stable, 60, "a stable service", every=0.5)
        await mlflow.set_alias(f"{world.namespace}.{name}", "candidate", "2")
        await until(is_canarying, PATIENCE_SECONDS, "a canary", every=0.5)
        revision = (await status_of(kube, world.namespace, name))["canary"]["revision"]
        with world.relay.hanging():
            await asyncio.sleep(2)  # all have asked by then, and wait
            await kill_for_memory(world, revision)
            failed = time.monotonic()
            await until(is_turned_back, 30, "a rollback")
            # Two seconds ago it was asked; after ten the operator would know that MLflow is silent.
            assert time.monotonic() - failed < CALL_SECONDS - 3
        await until(is_over, 60, "the end of the rollback", every=0.5)

        async def is_told() -> bool:
            version = await mlflow.get_model_version(f"{world.namespace}.{name}", "2")
            return version.tags.get("headrace.rollout") == "RolledBack"

        await until(is_told, 60, "the outcome at the version")

    drive(scenario)


async def kill_for_memory(world: World, revision: str) -> None:
    """Say of the revision's pods what a kubelet would whose container has gone over its limit twice."""
    killed = {"exitCode": 137, "reason": "OOMKilled"}
    server = {"name": "server", "image": "x", "imageID": "", "ready": False, "restartCount": 2, "started": False}
    status = {"status": {"containerStatuses": [server | {"state": {"terminated": killed}}]}}
    where, selector = ("--namespace", world.namespace), f"headrace.dev/revision={revision}"
    kubectl = partial(asyncio.to_thread, world.plane.run_kubectl)
    for pod in (await kubectl("get", "pods", *where, "--selector", selector, "--output=name")).split():
        await kubectl("patch", pod, *where, "--subresource=status", "--patch", json.dumps(status))


def test_a_service_that_asks_for_anothers_host_and_path_is_refused_and_both_keep_their_routes(
    world: World, drive: Any
) -> None:
    """Also the older one: who asks for what its route does not have yet comes later than who has it."""

    async def scenario(kube: KubeClient, _: MlflowClient) -> None:
        before = {name: await kube.get(HTTPROUTES, world.namespace, name) for name in ("text-5", "text-6")}
        older, younger = sorted(before, key=lambda name: (before[name]["metadata"]["creationTimestamp"], name))
        patch = {"spec": {"route": {"path": f"/{younger}"}}}
        await kube.merge_patch(MODELSERVICES, world.namespace, older, patch)

        async def is_refused() -> bool:
            conditions = (await status_of(kube, world.namespace, older))["conditions"]
            return "RouteConflict" in {entry["reason"] for entry in conditions}

        await until(is_refused, PATIENCE_SECONDS, "the refusal in status")
        for name, route in before.items():
            after = await kube.get(HTTPROUTES, world.namespace, name)
            assert after is not None
            assert route is not None
            assert (after["metadata"]["uid"], after["spec"]) == (route["metadata"]["uid"], route["spec"])

    drive(scenario)


def test_a_service_that_is_deleted_is_not_asked_about_any_more(world: World, drive: Any) -> None:
    async def scenario(kube: KubeClient, _: MlflowClient) -> None:
        live = await kube.get(MODELSERVICES, world.namespace, "text-7")
        assert live is not None
        await kube.delete(MODELSERVICES, world.namespace, "text-7", uid=live["metadata"]["uid"])
        await asyncio.sleep(10)
        before = len(world.requests())
        await asyncio.sleep(SLOT_SECONDS + 2)
        assert not any("text-7" in request for request in world.requests()[before:])

    drive(scenario)
