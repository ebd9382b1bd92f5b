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

MAX_BYTES = 4 * 1024 * 1024

log = logging.getLogger(__name__)


class Scraper:
    """`gateway_url` is the metrics' place of the release's own gateway, its host a headless Service; empty: none."""

    def __init__(self, http: aiohttp.ClientSession, gateway_url: str) -> None:
        self._http = http
        self._gateway = URL(gateway_url) if gateway_url else None

    async def of_pods(self, pods: Iterable[ServingPod]) -> dict[str, Counters]:
        """By pod; one that does not answer is left out."""
        readable = [pod for pod in pods if pod.ip and pod.ready]
        found = await asyncio.gather(*(self._read(url_of(pod.ip, *pod.metrics)) for pod in readable))
        return {pod.name: parse_metrics(text) for pod, text in zip(readable, found, strict=True) if text is not None}

    async def of_gateway(self, backend: re.Pattern[str]) -> dict[str, Counters]:
        """What each instance of the gateway counted of a backend of this name, by the instance's address."""
        if self._gateway is None:
            return {}
        addresses = await self._addresses(self._gateway)
        urls = [url_of(address, self._gateway.port or 80, self._gateway.path) for address in addresses]
        found = await asyncio.gather(*(self._read(url) for url in urls))
        return {
            f"gateway-{address.replace(':', '-')}": parse_gateway_metrics(text, backend)
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
