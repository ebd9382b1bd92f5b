"""One active operator: a small elector over a coordination.k8s.io Lease.

Safety comes from time alone, so it is counted cautiously. The holder counts `renew_seconds` from the moment its last
good renewal was *sent*; the others wait `duration_seconds` from the moment they *saw* a change; both on their own
monotonic clocks. When the holder's time is up its work is cancelled and awaited, and if that does not end in time, the
process is ended. `valid` is asked before each write besides: a process that was frozen runs on before a timer fires.
"""

import asyncio
import logging
import math
import os
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from headrace.kube.client import KubeClient
from headrace.kube.errors import KubeError
from headrace.kube.resources import LEASES, Object

DURATION_SECONDS = 15
RENEW_SECONDS = 10.0
RETRY_SECONDS = 2.0
CALL_SECONDS = 3.0
RELEASE_SECONDS = 2.0
EXIT_STUCK = 70
# Of the time between the end of our lease and the earliest take-over, what the work may use for its end.
STOP_SHARE = 0.6

log = logging.getLogger(__name__)


class Lease:
    """`client` must not be guarded by this lease: it is how the lease is taken."""

    def __init__(
        self,
        client: KubeClient,
        namespace: str,
        name: str,
        identity: str,
        *,
        duration_seconds: int = DURATION_SECONDS,
        renew_seconds: float = RENEW_SECONDS,
        retry_seconds: float = RETRY_SECONDS,
        call_seconds: float = CALL_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if renew_seconds >= duration_seconds:
            raise ValueError("a lease must be renewed within less than its duration")
        self._client = client
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._duration = duration_seconds
        self._renew = renew_seconds
        self._retry = retry_seconds
        self._call = call_seconds
        self._clock = clock
        self._valid_until = 0.0
        self._seen_version = ""
        self._seen_at = 0.0
        self._taken_by_other = False
        self._answered_at = -math.inf

    def valid(self) -> bool:
        """Whether this process is the active one at this very moment."""
        return self._clock() < self._valid_until

    def seconds_since_answer(self) -> float:
        """How long ago the API server last said who holds the lease."""
        return self._clock() - self._answered_at

    async def run(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run `work` while the lease is held, until it returns or raises. Cancelled: stop it and release the lease."""
        while True:
            while not await self.attempt(self._call):
                await asyncio.sleep(self._retry)
            log.info("lease %s/%s: held by %s", self._namespace, self._name, self._identity)
            task = asyncio.ensure_future(work())
            try:
                await self._hold(task)
            finally:
                await self._stop(task)
            if not task.cancelled():
                return task.result()
            log.warning("lease %s/%s: lost by %s", self._namespace, self._name, self._identity)

    async def attempt(self, seconds: float) -> bool:
        """Take or renew the lease once; any failure to do so is a no."""
        sent = self._clock()
        try:
            async with asyncio.timeout(seconds):
                held = await self._take()
        except (KubeError, TimeoutError) as error:
            log.info("lease %s/%s: not renewed: %s", self._namespace, self._name, str(error) or "no answer in time")
            return False
        self._answered_at = self._clock()
        if held:
            self._valid_until = sent + self._renew
        return held

    async def _hold(self, task: "asyncio.Future[None]") -> None:
        """Renew until the work is done, or the time is up, or another holds the lease."""
        while True:
            pause = max(0.0, min(self._retry, self._valid_until - self._clock()))
            await asyncio.wait([task], timeout=pause)
            left = self._valid_until - self._clock()
            if task.done() or left <= 0 or self._taken_by_other:
                return
            await self.attempt(min(self._call, left))

    async def _stop(self, task: "asyncio.Future[None]") -> None:
        task.cancel()
        await asyncio.wait([task], timeout=(self._duration - self._renew) * STOP_SHARE)
        if not task.done():
            log.critical("lease %s/%s: the work did not stop in time: exiting", self._namespace, self._name)
            os._exit(EXIT_STUCK)
        held = self.valid()
        self._valid_until = 0.0
        if held:
            await asyncio.shield(self._release())

    async def _take(self) -> bool:
        live = await self._client.get(LEASES, self._namespace, self._name)
        self._taken_by_other = False
        if live is None:
            await self._client.create(LEASES, self._render(None))
            return True
        spec = live.get("spec") or {}
        version, holder = live["metadata"]["resourceVersion"], spec.get("holderIdentity")
        if version != self._seen_version:
            self._seen_version, self._seen_at = version, self._clock()
        if holder and holder != self._identity:
            lasts = spec.get("leaseDurationSeconds") or self._duration
            if self._clock() - self._seen_at < lasts:
                self._taken_by_other = True
                return False
        await self._client.replace(LEASES, self._render(live))
        return True

    def _render(self, live: Object | None) -> Object:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": self._duration,
            "acquireTime": now,
            "renewTime": now,
            "leaseTransitions": 0,
        }
        if live is None:
            return {"metadata": {"namespace": self._namespace, "name": self._name}, "spec": spec}
        before = live.get("spec") or {}
        transitions = before.get("leaseTransitions") or 0
        if before.get("holderIdentity") == self._identity:
            spec["acquireTime"] = before.get("acquireTime") or now
            spec["leaseTransitions"] = transitions
        else:
            spec["leaseTransitions"] = transitions + 1
        return {**live, "spec": spec}

    async def _release(self) -> None:
        """Let the next one in at once; where that fails it waits for the duration."""
        try:
            async with asyncio.timeout(RELEASE_SECONDS):
                live = await self._client.get(LEASES, self._namespace, self._name)
                if live and live["spec"].get("holderIdentity") == self._identity:
                    spec = {**live["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}
                    await self._client.replace(LEASES, {**live, "spec": spec})
        except (KubeError, TimeoutError) as error:
            log.warning("lease %s/%s: not released: %s", self._namespace, self._name, error)
