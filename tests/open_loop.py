"""A client that sends at a fixed rate whatever comes back, and what it saw."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import aiohttp

from platform_under_test import Object, Tenant

OK = 200
TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True)
class Answer:
    """One answer: when its request was sent, its status (0: none came), the version that answered, the error's text."""

    at: float
    status: int
    version: str = ""
    error: str = ""


class OpenLoopClient:
    """Sends `body` to `url`, `rate` times a second."""

    def __init__(self, url: str, body: Any, rate: float) -> None:
        self._url = url
        self._body = json.dumps(body).encode()
        self._rate = rate
        self.answers: list[Answer] = []

    async def run(self, until: asyncio.Event, at_most: float) -> None:
        """Send until the event is set, for `at_most` seconds; then wait for the last answers."""
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as http:
            start, sent = time.monotonic(), 0
            tasks: set[asyncio.Task[None]] = set()
            while not until.is_set() and time.monotonic() - start < at_most:
                task = asyncio.create_task(self._one(http))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                sent += 1
                await asyncio.sleep(max(0.0, start + sent / self._rate - time.monotonic()))
            await asyncio.gather(*tasks)

    async def _one(self, http: aiohttp.ClientSession) -> None:
        at, headers = time.time(), {"Content-Type": "application/json"}
        try:
            async with http.post(self._url, data=self._body, headers=headers) as answer:
                text = await answer.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            self.answers.append(Answer(at, 0, error=f"{type(error).__name__}: {error}"))
            return
        found: Any = None
        with suppress(ValueError):
            found = json.loads(text)
        known = found if isinstance(found, dict) else {}
        error = "" if answer.status == OK else str(known.get("error", text[:200].decode(errors="replace")))
        self.answers.append(Answer(at, answer.status, str(known.get("model_version", "")), error))

    @property
    def failed(self) -> list[Answer]:
        """Everything that was not answered with 200."""
        return [answer for answer in self.answers if answer.status != OK]

    def outcomes(self) -> Counter[str]:
        """How many answers there were of each kind: for a person who reads a failed test."""
        return Counter(str(answer.status) if answer.status == OK else answer.error for answer in self.answers)

    def share(self, version: str, since: float, until: float) -> tuple[int, int]:
        """Of the requests sent in the window and answered with 200: those answered by `version`, and all."""
        window = [a.version for a in self.answers if since <= a.at <= until and a.status == OK]
        return window.count(version), len(window)


Watched = list[tuple[float, Object]]


def follow(
    tenant: Tenant,
    name: str,
    client: OpenLoopClient,
    until: Callable[[Object], bool],
    seconds: float,
    meanwhile: Callable[[Object], None] = lambda status: None,
) -> Watched:
    """Send requests while a ModelService goes where `until` says, and 3 s more; each (time, status) that was seen."""

    async def both() -> Watched:
        stop, seen = asyncio.Event(), []
        sending = asyncio.create_task(client.run(stop, seconds + 60))
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            status = await asyncio.to_thread(tenant.status, "modelservice", name)
            seen.append((time.time(), status))
            if until(status):
                break
            await asyncio.to_thread(meanwhile, status)
            await asyncio.sleep(0.5)
        await asyncio.sleep(3)
        stop.set()
        await sending
        return seen

    return asyncio.run(both())


def is_applied(status: Object, weight: int) -> bool:
    """Whether the data plane is known to give the canary this weight."""
    rollout = status.get("rollout") or {}
    return rollout.get("appliedWeight") == weight == rollout.get("desiredWeight")


def within_binomial_bounds(hits: int, total: int, share: float) -> bool:
    """Within 4 standard deviations: one run in 16,000 of a true split would fail."""
    assert total >= 50, f"{total} requests show nothing"
    return abs(hits - total * share) <= 4 * math.sqrt(total * share * (1 - share))
