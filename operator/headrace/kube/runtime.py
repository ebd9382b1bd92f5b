"""The operator's process: lease, watches, work queue, sweep, health endpoint and an orderly end, around `reconcile`.

Everything that works runs inside the lease. A reconcile gets a key and whether something woke it, and returns the
seconds until it wants to look again; it finds out everything else by reading. What the watches miss (they may: see
`shell`), the sweep hands over.
"""

import asyncio
import logging
import os
import signal
import socket
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from aiohttp import web

from headrace.kube.client import KubeClient
from headrace.kube.errors import ApiUnavailable, Conflict, KindNotFound, KubeError, LeaseLost, NotOurs
from headrace.kube.keys import Key, ParentOf
from headrace.kube.lease import Lease
from headrace.kube.metrics import Metrics
from headrace.kube.queue import WORKERS, Cause, KeyQueue
from headrace.kube.resources import Object, Resource
from headrace.kube.shell import Shell, Watch

SWEEP_SECONDS = 300.0
HEALTH_PORT = 8080
# Without an answer about the lease for this long the process is not ready.
READY_SECONDS = 60.0

KeysLeftBehind = Callable[[], Awaitable[Sequence[Key]]]


class Reconciler(Protocol):
    """What looks at keys while the lease is held."""

    async def reconcile(self, key: Key, cause: Cause) -> float | None:
        """Seconds until the next look, None: when something changes."""

    def is_urgent(self, key: Key) -> bool:
        """Whether its looks come before those of other keys."""

    async def close(self) -> None:
        """End what it has under way: the lease is gone."""


log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """namespaces: those to serve, none given: all of the cluster. health_port 0: any free one, None: no endpoint."""

    namespaces: tuple[str, ...] = ()
    workers: int = WORKERS
    sweep_seconds: float = SWEEP_SECONDS
    health_host: str = "0.0.0.0"
    health_port: int | None = HEALTH_PORT


def identity() -> str:
    """A name for this very process: a restarted container keeps its pod's name and is not its predecessor."""
    return f"{socket.gethostname()}_{os.getpid()}_{uuid.uuid4().hex[:8]}"


async def run(
    new_reconciler: Callable[[], Reconciler],
    watches: Sequence[Watch],
    parent_of: ParentOf,
    client: KubeClient,
    lease: Lease,
    settings: Settings = Settings(),
    left_behind: KeysLeftBehind | None = None,
) -> None:
    """Run until SIGTERM or SIGINT; then stop the work, release the lease and return.

    `new_reconciler` is called each time the lease is taken: what a reconciler remembers ends with the lease. It writes
    through `client.guarded(lease.valid)`; `client` itself is only read with here. `left_behind` gives keys that no
    object names any more, and that the sweep is to look at all the same.
    """
    operator = _Operator(new_reconciler, watches, parent_of, client, lease, settings, left_behind)
    loop = asyncio.get_running_loop()
    async with _health(operator.metrics, lease, settings):
        task = asyncio.ensure_future(lease.run(operator.work))
        stopping = asyncio.Event()

        def stop() -> None:
            stopping.set()
            task.cancel()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)
        try:
            await task
        except asyncio.CancelledError:
            if not stopping.is_set():
                raise
            log.info("stopped")
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)


class _Operator:
    """What runs while the lease is held: made anew each time it is taken."""

    def __init__(
        self,
        new_reconciler: Callable[[], Reconciler],
        watches: Sequence[Watch],
        parent_of: ParentOf,
        client: KubeClient,
        lease: Lease,
        settings: Settings,
        left_behind: KeysLeftBehind | None = None,
    ) -> None:
        self._new_reconciler = new_reconciler
        self._left_behind = left_behind
        self._watches = tuple(watches)
        self._parent_of = parent_of
        self._client = client
        self._settings = settings
        self._queue: KeyQueue[Key] | None = None
        self.metrics = Metrics()
        self.metrics.gauges = {
            "headrace_lease_held": ("1 when this process is the active one.", lambda: float(lease.valid())),
            "headrace_queue_length": ("Keys that wait for a worker.", lambda: float(len(self._queue or ()))),
        }

    async def work(self) -> None:
        reconciler = self._new_reconciler()
        queue = self._queue = KeyQueue(
            partial(self._handle, reconciler),
            on_error=self._on_error,
            workers=self._settings.workers,
            is_urgent=reconciler.is_urgent,
        )
        shell = Shell(self._client.credentials, self._watches, self._sink, namespaces=self._settings.namespaces)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(queue.run(), name="queue")
                group.create_task(shell.run(), name="watches")
                group.create_task(self._sweep_forever(), name="sweep")
        finally:
            await reconciler.close()

    async def _handle(self, reconciler: Reconciler, key: Key, cause: Cause) -> float | None:
        started = time.monotonic()
        try:
            return await reconciler.reconcile(key, cause)
        finally:
            self.metrics.reconciles[key.resource.kind] += 1
            self.metrics.seconds[key.resource.kind] += time.monotonic() - started

    def _on_error(self, key: Key, error: Exception) -> None:
        if isinstance(error, (Conflict, LeaseLost)):
            log.info("%s: %s", key, error)
            return
        self.metrics.errors[key.resource.kind] += 1
        if isinstance(error, ApiUnavailable):
            log.warning("%s: %s", key, error)
        else:
            log.error("%s: %s", key, error, exc_info=None if isinstance(error, (KubeError, NotOurs)) else error)

    def _sink(self, resource: Resource, _: str | None, obj: Object) -> None:
        key = self._parent_of(resource, obj)
        if key is not None:
            self._look_at(key)

    def _look_at(self, key: Key) -> None:
        if self._queue is not None:
            self._queue.add(key)

    async def _sweep_forever(self) -> None:
        while True:
            await asyncio.sleep(self._settings.sweep_seconds)
            try:
                await self.sweep()
            except KubeError as error:
                log.warning("sweep: %s", error)

    async def sweep(self) -> None:
        """Look at every key there is, also at those that only an object left behind still names."""
        for resource, labels in self._watches:
            for namespace in self._settings.namespaces or (None,):
                try:
                    found = await self._client.list(resource, namespace, labels or "")
                except KindNotFound:
                    log.debug("sweep: %s is not installed", resource.plural)
                    continue
                for obj in found:
                    self._sink(resource, None, obj)
        for key in await self._left_behind() if self._left_behind is not None else ():
            self._look_at(key)


@asynccontextmanager
async def _health(metrics: Metrics, lease: Lease, settings: Settings) -> AsyncIterator[None]:
    """GET /healthz: the loop turns. /readyz: the API server answers about the lease, held or not. /metrics."""

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        if lease.seconds_since_answer() < READY_SECONDS:
            return web.Response(text="active\n" if lease.valid() else "standby\n")
        return web.Response(status=503, text="the API server does not answer about the lease\n")

    async def show_metrics(_: web.Request) -> web.Response:
        return web.Response(text=metrics.render(), headers={"Content-Type": "text/plain; version=0.0.4"})

    if settings.health_port is None:
        yield
        return
    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", show_metrics)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, settings.health_host, settings.health_port).start()
        yield
    finally:
        await runner.cleanup()
