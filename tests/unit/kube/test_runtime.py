"""The health endpoint and the counters; the runtime as a whole: tests/integration/test_shell.py."""

import asyncio
import socket

import aiohttp
import pytest

from headrace.kube import runtime
from headrace.kube.keys import parent_of
from headrace.kube.metrics import Metrics
from headrace.kube.queue import Cause
from headrace.kube.resources import Resource
from headrace.kube.runtime import Settings, identity

WIDGETS = Resource("test.headrace.dev", "v1", "widgets", "Widget")


class LeaseStub:
    def __init__(self, held, seconds):
        self.held = held
        self.seconds = seconds

    def valid(self):
        return self.held

    def seconds_since_answer(self):
        return self.seconds


@pytest.mark.parametrize(
    ("held", "seconds", "status", "text"),
    [
        (True, 1.0, 200, "active\n"),
        (False, 1.0, 200, "standby\n"),
        (False, 61.0, 503, "the API server does not answer about the lease\n"),
        (False, float("inf"), 503, "the API server does not answer about the lease\n"),
    ],
    ids=["active", "standby", "api-away", "never-answered"],
)
def test_ready_is_who_hears_from_the_api_server_active_or_not(unused_port, held, seconds, status, text):
    async def main():
        settings = Settings(health_host="127.0.0.1", health_port=unused_port)
        async with (
            runtime._health(Metrics(), LeaseStub(held, seconds), settings),
            aiohttp.ClientSession(f"http://127.0.0.1:{unused_port}") as http,
        ):
            assert (await http.get("/healthz")).status == 200
            response = await http.get("/readyz")
            return response.status, await response.text()

    assert asyncio.run(main()) == (status, text)


@pytest.fixture
def unused_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_metrics_are_counted_by_kind_and_gauges_asked_at_the_scrape():
    metrics = Metrics()
    metrics.reconciles["TrainingJob"] += 2
    metrics.errors["TrainingJob"] += 1
    metrics.seconds["TrainingJob"] += 0.25
    length = [0.0]
    metrics.gauges["headrace_queue_length"] = ("Keys.", lambda: length[0])
    length[0] = 3.0

    lines = metrics.render().splitlines()
    assert 'headrace_reconciles_total{kind="TrainingJob"} 2' in lines
    assert 'headrace_reconcile_errors_total{kind="TrainingJob"} 1' in lines
    assert 'headrace_reconcile_seconds_total{kind="TrainingJob"} 0.25' in lines
    assert "headrace_queue_length 3" in lines
    assert "# TYPE headrace_queue_length gauge" in lines


def test_two_processes_of_one_pod_have_two_identities():
    assert identity() != identity()


def test_each_time_the_lease_is_taken_the_reconciler_is_a_new_one_and_it_is_closed_with_it(
    monkeypatch,
):
    class Watches:
        """Tells of one object when it starts, as a list does."""

        def __init__(self, credentials, watches, sink, *, namespaces):
            self.sink = sink

        async def run(self):
            self.sink(WIDGETS, None, {"metadata": {"name": "a", "namespace": "b"}})
            await asyncio.Event().wait()

    class Client:
        credentials = None

    made, closed, looked_at = [], [], []

    class Reconciler:
        def __init__(self):
            self.number = len(made)
            made.append(self.number)

        async def reconcile(self, key, cause):
            looked_at.append((self.number, key.name, cause))

        def is_urgent(self, key):
            return False

        async def close(self):
            closed.append(self.number)

    async def main():
        lease = LeaseStub(True, 0.0)
        operator = runtime._Operator(Reconciler, (), parent_of({WIDGETS: "x"}), Client(), lease, Settings())
        for held in (1, 2):
            working = asyncio.create_task(operator.work())
            while len(looked_at) < held:
                await asyncio.sleep(0.002)
            working.cancel()
            with pytest.raises(asyncio.CancelledError):
                await working

    monkeypatch.setattr(runtime, "Shell", Watches)
    asyncio.run(main())
    (first, *_), (second, *_) = looked_at
    assert first != second
    assert closed == [0, 1]
    assert {(name, cause) for _, name, cause in looked_at} == {("a", Cause.WOKEN)}
