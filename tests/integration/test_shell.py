"""The watches and the whole runtime on a real API server that comes and goes."""

import asyncio
import contextlib
import signal
import time

import psutil
import pytest

from audit_log import AuditLog
from headrace.kube import shell as shell_module
from headrace.kube.client import KubeClient
from headrace.kube.credentials import Credentials
from headrace.kube.resources import CONFIGMAPS, LEASES
from headrace.kube.shell import USER_AGENT, Shell, Watch
from headrace_local.controlplane import ControlPlane
from integration.kube_fixtures import GADGETS, LABEL, WIDGETS, answer, free_port, install, start_operator, until

OBJECTS = 100
MEGABYTE = 1 << 20
MOST_MEMORY = 90 * MEGABYTE


@pytest.fixture(scope="module")
def plane(tmp_path_factory):
    with ControlPlane.start(tmp_path_factory.mktemp("shell"), audit_log=True, controller_manager=True) as plane:
        install(plane, WIDGETS)
        yield plane


@contextlib.asynccontextmanager
async def watching(plane, *watches, **options):
    """A running shell, and the set of (plural, name, event type) it told."""
    told = set()

    def sink(resource, event_type, obj):
        told.add((resource.plural, obj["metadata"]["name"], event_type))

    shell = Shell(await Credentials.load(plane.kubeconfig), watches, sink, **options)
    running = asyncio.create_task(shell.run())
    try:
        yield told, shell
    finally:
        running.cancel()
        started = time.monotonic()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert time.monotonic() - started < 30


def run(main):
    async def bounded():
        async with asyncio.timeout(300):
            await main()

    asyncio.run(bounded())


def configmap(name, labels=None):
    return {"metadata": {"namespace": "default", "name": name, "labels": labels or {}}}


def widget(name, **metadata):
    return {"metadata": {"namespace": "default", "name": name, **metadata}, "spec": {"size": 1}}


def test_it_tells_what_is_there_and_what_changes_of_the_objects_that_the_selector_matches_and_writes_nothing(plane):
    async def main():
        async with KubeClient.session(plane.kubeconfig) as client:
            finalizers = ["kopf.zalando.org/KopfFinalizerMarker"]
            made = await client.create(WIDGETS, widget("kept", finalizers=finalizers))
            await client.create(CONFIGMAPS, configmap("ours", {LABEL: "x"}))
            await client.create(CONFIGMAPS, configmap("foreign"))
            async with watching(plane, Watch(WIDGETS), Watch(CONFIGMAPS, LABEL)) as (told, _):
                await until(lambda: {("widgets", "kept", None), ("configmaps", "ours", None)} <= told)
                await client.create(CONFIGMAPS, configmap("later", {LABEL: "x"}))
                await until(lambda: ("configmaps", "later", "ADDED") in told)
                await client.merge_patch(WIDGETS, "default", "kept", {"spec": {"size": 2}})
                await until(lambda: ("widgets", "kept", "MODIFIED") in told)
                assert not any(name == "foreign" for _, name, _ in told)
            live = await client.get(WIDGETS, "default", "kept")
            assert live["metadata"]["finalizers"] == finalizers, "another operator's finalizer stays"
            assert live["metadata"]["generation"] == made["metadata"]["generation"] + 1
            await client.merge_patch(WIDGETS, "default", "kept", {"metadata": {"finalizers": None}})

    run(main)
    requests = AuditLog(plane).entries()
    verbs = {request["verb"] for request in requests if request.get("userAgent") == USER_AGENT}
    assert verbs == {"get", "list", "watch"}
    selected = [request["requestURI"] for request in requests if request.get("userAgent") == USER_AGENT]
    assert all("labelSelector" in uri for uri in selected if "configmaps" in uri)


def test_a_kind_that_is_not_installed_is_no_error_and_is_watched_once_it_is(plane):
    async def main():
        async with (
            KubeClient.session(plane.kubeconfig) as client,
            watching(plane, Watch(WIDGETS), Watch(GADGETS)) as (told, shell),
        ):
            await client.create(WIDGETS, widget("beside"))
            await until(lambda: any(name == "beside" for _, name, _ in told))
            await asyncio.to_thread(install, plane, GADGETS)
            await client.create(GADGETS, widget("new"))
            await until(lambda: any(name == "new" for _, name, _ in told))
            assert shell.starts == 1

    run(main)


def test_only_the_named_namespaces_are_watched(plane):
    async def main():
        async with KubeClient.session(plane.kubeconfig) as client:
            await client.create(WIDGETS, widget("in-default"))
            await client.create(
                WIDGETS, widget("elsewhere") | {"metadata": {"namespace": "kube-public", "name": "out"}}
            )
            async with watching(plane, Watch(WIDGETS), namespaces=("kube-public",)) as (told, _):
                await until(lambda: ("widgets", "out", None) in told)
                assert {name for _, name, _ in told} == {"out"}

    run(main)


def test_watches_that_ended_by_themselves_are_started_again(plane, monkeypatch):
    # With the real list it takes kopf two minutes to give up.
    monkeypatch.setattr(shell_module, "ERROR_BACKOFFS", [0.2])

    async def main():
        plane.kill()
        try:
            async with watching(plane, Watch(WIDGETS), restart_seconds=0.5) as (told, shell):
                await until(lambda: shell.starts >= 3, 90, "a third start")
                plane.restart()
                await until(lambda: any(resource == "widgets" for resource, _, _ in told), 90, "told after the restart")
        finally:
            plane.restart()

    run(main)


async def restart(plane):
    plane.restart()
    # For our own client to see that its connections are gone.
    await asyncio.sleep(0.5)


class Operator:
    def __init__(self, plane, directory, *options):
        self.port = free_port()
        self.log = directory / "operator.log"
        self.process = start_operator(plane.kubeconfig, "shell", self.log, "--health-port", self.port, *options)

    def memory(self):
        return psutil.Process(self.process.pid).memory_full_info().uss

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(timeout=10)


def test_no_object_is_lost_over_api_server_restarts_and_freezes_and_memory_stays_small(plane, tmp_path):
    operator = Operator(plane, tmp_path, "--sweep", 3)

    async def repeated(client, names):
        found = await client.list(CONFIGMAPS, "default", LABEL)
        return {obj["metadata"]["name"] for obj in found if obj.get("data") == {"size": "1"}} >= names

    async def main():
        async with KubeClient.session(plane.kubeconfig) as client:
            first = {f"w{number}" for number in range(OBJECTS)}
            for name in sorted(first):
                await client.create(WIDGETS, widget(name))
            await until(lambda: repeated(client, first), 90, "all repeated", every=0.5)
            assert await answer(operator.port, "readyz") == "active\n"
            assert operator.memory() < MOST_MEMORY

            await restart(plane)
            await client.create(WIDGETS, widget("after-restart"))
            await until(lambda: repeated(client, {"after-restart"}), 90, "repeated after a restart", every=0.5)

            # Made and changed while the operator is frozen and its connections die.
            operator.process.send_signal(signal.SIGSTOP)
            await restart(plane)
            await client.create(WIDGETS, widget("while-frozen"))
            left = await client.get(WIDGETS, "default", "w0")
            await client.delete(WIDGETS, "default", "w0", uid=left["metadata"]["uid"], propagation="Orphan")
            await client.delete(CONFIGMAPS, "default", "w1", uid=(await live(client, "w1"))["metadata"]["uid"])
            operator.process.send_signal(signal.SIGCONT)
            await until(lambda: repeated(client, {"while-frozen", "w1"}), 90, "repeated after a freeze", every=0.5)

            # A deletion that no watch told: the object left behind leads the sweep to it.
            async def is_gone():
                return await live(client, "w0") is None

            await until(is_gone, 90, "the orphan deleted")
            metrics = await answer(operator.port, "metrics")
            assert "headrace_lease_held 1\n" in metrics
            assert 'headrace_reconciles_total{kind="Widget"}' in metrics
            assert operator.memory() < MOST_MEMORY

            started = time.monotonic()
            operator.process.terminate()
            assert await asyncio.to_thread(operator.process.wait, 60) == 0
            assert time.monotonic() - started < 30, "the grace of its pod"
            lease = await client.get(LEASES, "default", "widgets")
            assert lease["spec"]["holderIdentity"] == "", "released"

    async def live(client, name):
        return await client.get(CONFIGMAPS, "default", name)

    try:
        run(main)
    finally:
        operator.end()
