"""Never two active operators: two processes, what may go wrong between them, and the API server's audit log."""

import asyncio
import itertools
import signal
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
import yaml

from audit_log import AuditLog
from headrace.kube.client import KubeClient
from headrace.kube.resources import LEASES
from headrace_local.controlplane import ControlPlane
from integration.kube_fixtures import WIDGETS, answer, free_port, install, start_operator, until

# The proportions of the defaults at a shorter duration: the time a test takes is waiting for it.
DURATION = 6
TICK = 0.05
# Fewer writes in a row are not taken for a term of their writer.
WRITES_OF_A_TERM = 3


@dataclass
class Proxy:
    """A TCP proxy on loopback that can go silent: what is on its way is lost, connections stay open and say nothing.

    When it speaks again old connections are dead, as behind a router that forgot them, and new ones work.
    """

    target: int
    port: int = 0
    silent: bool = False
    _server: asyncio.Server | None = None
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self._server.close()
        self.speak()

    def speak(self):
        self.silent = False
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _serve(self, reader, writer):
        self._writers.add(writer)
        if self.silent:
            return
        try:
            upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        self._writers.add(upstream_writer)
        await asyncio.gather(self._pump(reader, upstream_writer), self._pump(upstream_reader, writer))

    async def _pump(self, reader, writer):
        try:
            while data := await reader.read(65536):
                if self.silent:
                    return
                writer.write(data)
            writer.close()
        except OSError:
            writer.transport.abort()


@dataclass(frozen=True)
class Write:
    writer: str
    start: datetime
    end: datetime


def writes(log):
    """What the operators wrote, the lease itself apart."""
    return sorted(filter(None, map(as_write, log.entries())), key=lambda write: write.start)


def as_write(event):
    agent = event.get("userAgent", "")
    written = event["verb"] in {"create", "update", "patch", "delete"} and event["stage"] == "ResponseComplete"
    if not agent.startswith("operator-") or not written or event["objectRef"]["resource"] == "leases":
        return None
    times = [datetime.fromisoformat(event[name]) for name in ("requestReceivedTimestamp", "stageTimestamp")]
    return Write(agent.removeprefix("operator-"), *times)


def terms(found):
    """The writes in a row of one writer."""
    return [list(group) for _, group in itertools.groupby(found, key=lambda write: write.writer)]


@pytest.fixture(scope="module")
def plane(tmp_path_factory):
    with ControlPlane.start(tmp_path_factory.mktemp("lease"), audit_log=True) as plane:
        install(plane, WIDGETS)
        yield plane


class Pair:
    """Two operators, each with a proxy of its own between it and the API server."""

    def __init__(self, plane, client, directory, proxies):
        self.plane, self.client, self.directory, self.proxies = plane, client, directory, proxies
        self.audit = AuditLog(plane)
        self.processes = {}

    async def start(self, name):
        """Start it, and wait until it knows who holds the lease."""
        config = yaml.safe_load(self.plane.kubeconfig.read_text())
        config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{self.proxies[name].port}"
        kubeconfig = self.directory / f"{name}.kubeconfig"
        kubeconfig.write_text(yaml.safe_dump(config))
        log, port = self.directory / f"{name}.log", free_port()
        options = ("--duration", DURATION, "--tick", TICK, "--health-port", port)
        self.processes[name] = start_operator(kubeconfig, name, log, *options)

        async def is_ready():
            return await answer(port, "readyz") in {"active\n", "standby\n"}

        await until(is_ready, 60, f"{name} ready")

    async def active(self):
        """Who wrote last, often enough that two at once would be seen to alternate, and holds the lease."""
        lease = await self.client.get(LEASES, "default", "widgets")
        holder = lease["spec"]["holderIdentity"].split("-")[0] if lease else ""
        latest = {write.writer for write in writes(self.audit)[-WRITES_OF_A_TERM:]}
        return holder if latest == {holder} else ""

    async def until_active(self, name, seconds):
        async def is_active():
            return await self.active() == name

        await until(is_active, seconds, f"{name} active")

    def stop(self):
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait(timeout=10)


def test_two_operators_never_write_at_the_same_time_whatever_happens_to_them(plane, tmp_path):
    server_port = int(plane.url.rpartition(":")[2])

    async def main():
        async with (
            asyncio.timeout(300),
            KubeClient.session(plane.kubeconfig) as client,
            Proxy(server_port) as proxy_a,
            Proxy(server_port) as proxy_b,
        ):
            await client.create(WIDGETS, {"metadata": {"namespace": "default", "name": "w"}, "spec": {"size": 1}})
            pair = Pair(plane, client, tmp_path, {"A": proxy_a, "B": proxy_b})
            try:
                await happen(pair)
            finally:
                pair.stop()

    expected = ["A"]

    async def happen(pair):
        await pair.start("A")
        await pair.until_active("A", 5 * DURATION)
        await pair.start("B")

        # The active one is frozen for longer than its lease lasts, and thaws in the middle of its work.
        pair.processes["A"].send_signal(signal.SIGSTOP)
        await pair.until_active("B", 5 * DURATION)
        pair.processes["A"].send_signal(signal.SIGCONT)
        await asyncio.sleep(1)
        assert await pair.active() == "B"
        expected.append("B")

        # The network of the active one goes silent, and comes back.
        pair.proxies["B"].silent = True
        await pair.until_active("A", 5 * DURATION)
        pair.proxies["B"].speak()
        await asyncio.sleep(1)
        assert await pair.active() == "A"
        expected.append("A")

        # The API server is away for longer than the lease lasts, and then frozen: either may go on.
        before = len(writes(pair.audit))
        plane.kill()
        await asyncio.sleep(1.5 * DURATION)
        plane.restart()
        await until(lambda: len(writes(pair.audit)) > before + 20, 6 * DURATION, "writes again")
        plane.pause()
        await asyncio.sleep(1.5 * DURATION)
        plane.resume()
        before = len(writes(pair.audit))
        await until(lambda: len(writes(pair.audit)) > before + 20, 6 * DURATION, "writes again")
        active = await until(pair.active, DURATION)
        other = {"A": "B", "B": "A"}[active]
        expected.append("?")

        # Killed: the other waits for the duration. Asked to stop: it need not wait.
        pair.processes[active].kill()
        await pair.until_active(other, 5 * DURATION)
        expected.append(other)
        await pair.start(active)
        asked = datetime.now(UTC)
        pair.processes[other].terminate()
        await pair.until_active(active, 5 * DURATION)
        lease = await pair.client.get(LEASES, "default", "widgets")
        taken = datetime.fromisoformat(lease["spec"]["acquireTime"])
        assert (taken - asked).total_seconds() < DURATION * 2 / 3, "the lease was released, not left to run out"
        assert pair.processes[other].wait(timeout=20) == 0
        expected.append(active)

    asyncio.run(main())
    found = terms(writes(AuditLog(plane)))
    for earlier, later in itertools.pairwise(found):
        assert max(write.end for write in earlier) < later[0].start, f"{earlier[-1]} overlaps {later[0]}"
    # No take-over but those provoked: two that were active at once would alternate.
    [uncertain] = [index for index, name in enumerate(expected) if name == "?"]
    names = [term[0].writer for term in found]
    assert names[:uncertain] == expected[:uncertain]
    assert names[-2:] == expected[-2:]
    # While the API server comes and goes a term may end after one write; the others are long enough to overlap.
    assert min(len(term) for term in [*found[:uncertain], *found[-2:]]) >= WRITES_OF_A_TERM
    assert len(names) <= len(expected) + 2
