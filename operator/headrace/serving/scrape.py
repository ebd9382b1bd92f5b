"""Reads counters over HTTP: those of serving pods, and the gateway's of one revision."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from collections.abc import Iterable

import aiohttp
from yarl import URL

from headrace.rollout.counters import Counters, parse_gateway_metrics, parse_metrics
from headrace.scrape import TIMEOUT_SECONDS, read_bounded, url_of
from headrace.serving.observed import ServingPod
from headrace.serving.runtimes.choice import metrics_of
from headrace.serving.runtimes.table import Runtimes
from headrace_common.protocol.loading import Loading, parse_loading

MAX_BYTES = 4 * 1024 * 1024
MAX_PROGRESS_BYTES = 16 * 1024
PROGRESS_SECONDS = 1.0

log = logging.getLogger(__name__)


class Scraper:
    """`gateway_url` is the metrics' place of the release's own gateway, its host a headless Service; empty: none.
    `runtimes` say how the counters of a pod are read.
    """

    def __init__(self, http: aiohttp.ClientSession, gateway_url: str, runtimes: Runtimes) -> None:
        self._http = http
        self._runtimes = runtimes
        self._gateway = URL(gateway_url) if gateway_url else None

    async def of_pods(self, pods: Iterable[ServingPod]) -> dict[str, Counters]:
        """By pod; one that does not answer is left out."""
        ready = [
            (pod, metrics_of(pod.annotations, pod.metrics, self._runtimes)) for pod in pods if pod.ip and pod.ready
        ]
        readable = [(pod, metrics) for pod, metrics in ready if metrics is not None]
        found = await asyncio.gather(*(self._read(url_of(pod.ip, *pod.metrics)) for pod, _ in readable))
        return {
            pod.name: parse_metrics(text, metrics)
            for (pod, metrics), text in zip(readable, found, strict=True)
            if text is not None
        }

    async def of_loaders(self, pods: Iterable[ServingPod]) -> dict[str, Loading]:
        """How far the loaders that are at work are, by pod; one that does not answer is left out."""
        asked = [(pod.name, url_of(pod.ip, pod.loader_port, "/progress")) for pod in pods if pod.ip and pod.loader_port]
        found = await asyncio.gather(
            *(read_bounded(self._http, url, MAX_PROGRESS_BYTES, seconds=PROGRESS_SECONDS) for _, url in asked)
        )
        told = {name: parse_loading(body) for (name, _), body in zip(asked, found, strict=True) if body is not None}
        return {name: loading for name, loading in told.items() if loading is not None}

    async def of_gateway(self, backend: re.Pattern[str], called: str = "gateway") -> dict[str, Counters]:
        """What each instance of the gateway counted of a backend of this name, by `called` and its address."""
        if self._gateway is None:
            return {}
        addresses = await self._addresses(self._gateway)
        urls = [url_of(address, self._gateway.port or 80, self._gateway.path) for address in addresses]
        found = await asyncio.gather(*(self._read(url) for url in urls))
        return {
            f"{called}-{address.replace(':', '-')}": parse_gateway_metrics(text, backend)
            for address, text in zip(addresses, found, strict=True)
            if text is not None
        }

    async def _addresses(self, url: URL) -> list[str]:
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                found = await asyncio.get_running_loop().getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
        except (OSError, TimeoutError) as error:
            log.debug("the gateway's metrics: %s", error)
            return []
        return sorted({str(address[0]) for *_, address in found})

    async def _read(self, url: str) -> str | None:
        body = await read_bounded(self._http, url, MAX_BYTES)
        return body.decode(errors="replace") if body is not None else None
