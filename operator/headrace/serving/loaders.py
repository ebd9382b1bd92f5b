"""Asks the loaders that are at work how far they are, beside the passes: none waits for a pod that does not answer."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from functools import partial

from headrace.inflight import InFlight, StillWaiting
from headrace.kube.keys import Key
from headrace.serving.loading import ASK_AGAIN, ASK_EVERY
from headrace.serving.observed import ServingPod
from headrace.serving.scrape import Scraper
from headrace_common.protocol.loading import Loading

PATIENCE_SECONDS = 0.1  # an answer that comes at once is told by the pass that asked


class Loaders:
    """The questions that are under way, and when each service's loaders are to be asked again."""

    def __init__(self, scraper: Scraper) -> None:
        self._scraper = scraper
        self._asking: InFlight[Key, dict[str, Loading]] = InFlight(PATIENCE_SECONDS)
        self._due: dict[Key, datetime] = {}

    async def told(self, key: Key, pods: tuple[ServingPod, ...], now: datetime) -> tuple[ServingPod, ...]:
        """The pods with what their loaders answer, where it is time to ask them: each answer is written to status."""
        if not any(pod.loader_port for pod in pods):
            await self.forget(key)
            return pods
        due = self._due.get(key)
        if due is not None and now < due and not self._asking.is_under_way(key):
            return pods
        try:
            found = await self._asking.result(key, partial(self._scraper.of_loaders, pods))
        except StillWaiting:  # the next pass has the answer
            return pods
        self._due[key] = now + (ASK_EVERY if found else ASK_AGAIN)
        at_work = {pod.name for pod in pods if pod.loader_port}
        return tuple(
            replace(pod, loading=found[pod.name]) if pod.name in found.keys() & at_work else pod for pod in pods
        )

    async def forget(self, key: Key) -> None:
        self._due.pop(key, None)
        await self._asking.forget(key)

    async def close(self) -> None:
        """End the questions that are under way."""
        await self._asking.close()
