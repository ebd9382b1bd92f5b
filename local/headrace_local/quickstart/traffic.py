"""An open-loop client: requests at a fixed rate, whether answers come or not, counted by the version that answered."""

from __future__ import annotations

import asyncio
import re
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import aiohttp

RATE = 20.0
_MAX_SECONDS = 1800.0
_MAX_OPEN = 200
_TIMEOUT = 15.0
_SAY_EVERY_SECONDS = 5.0
_VERSION = re.compile(rb'"model_version"\s*:\s*"([^"]*)"')


@dataclass
class Tally:
    """Answers so far; `failed` says how."""

    answered: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    left_out: int = 0

    def line(self) -> str:
        answers = ", ".join(f"version {version}: {count}" for version, count in sorted(self.answered.items()))
        failures = ", ".join(f"{what}: {count}" for what, count in sorted(self.failed.items()))
        skipped = f"; not sent (all {_MAX_OPEN} open): {self.left_out}" if self.left_out else ""
        return f"{self.answered.total()} answers ({answers or 'none'}); failed: {failures or '0'}{skipped}"


@contextmanager
def running(url: str, body: str, say: Callable[[str], None]) -> Iterator[Tally]:
    """Send requests as long as the block runs; the tally grows meanwhile."""
    tally, stop = Tally(), threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(_send(url, body, tally, stop, say)), daemon=True)
    thread.start()
    try:
        yield tally
    finally:
        stop.set()
        thread.join(timeout=_TIMEOUT + 5)


async def _send(url: str, body: str, tally: Tally, stop: threading.Event, say: Callable[[str], None]) -> None:
    timeout, begin, sent = aiohttp.ClientTimeout(total=_TIMEOUT), time.monotonic(), 0
    last: Counter[str] = Counter()
    times: dict[str, list[float]] = {}
    said_at = begin
    open_requests: set[asyncio.Task[None]] = set()
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=_MAX_OPEN)) as session:
        while not stop.is_set() and time.monotonic() - begin < _MAX_SECONDS:
            if len(open_requests) < _MAX_OPEN:
                task = asyncio.create_task(_one(session, url, body, tally, times))
                open_requests.add(task)
                task.add_done_callback(open_requests.discard)
            else:
                tally.left_out += 1
            sent += 1
            if time.monotonic() - said_at > _SAY_EVERY_SECONDS:
                say(f"traffic: {_shares(tally.answered - last, times)}; failed so far: {tally.failed.total()}")
                last, said_at = tally.answered.copy(), time.monotonic()
                times.clear()
            await asyncio.sleep(max(0.0, begin + sent / RATE - time.monotonic()))
        if open_requests:
            await asyncio.wait(open_requests)


async def _one(
    session: aiohttp.ClientSession, url: str, body: str, tally: Tally, times: dict[str, list[float]]
) -> None:
    begin = time.monotonic()
    try:
        async with session.post(url, data=body, headers={"Content-Type": "application/json"}) as response:
            answer = await response.read()
    except (aiohttp.ClientError, TimeoutError) as error:
        tally.failed[type(error).__name__] += 1
        return
    if response.status != 200:
        tally.failed[f"status {response.status}"] += 1
        return
    found = _VERSION.search(answer)
    version = found[1].decode() if found else "?"
    tally.answered[version] += 1
    times.setdefault(version, []).append(time.monotonic() - begin)


def _shares(answered: Counter[str], times: dict[str, list[float]]) -> str:
    total = answered.total()
    parts = []
    for version, count in sorted(answered.items()):
        median = 1000 * statistics.median(times[version])
        parts.append(f"version {version}: {100 * count / total:.0f} % (median {median:.0f} ms)")
    return ", ".join(parts) or "no answers"
