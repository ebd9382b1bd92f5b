"""The work queue: which keys to look at, and when.

A key is worked on by one worker at a time and waits in the queue once, however often it is added; added while it is
worked on, it is looked at again afterwards. Urgent keys come first, and have workers of their own, so that they do
not wait behind others that take long. A handler returns the seconds until the next look (None: when something
changes) or raises, and is then tried again with growing pauses. It is told whether somebody added the key or only its
own time was up. What a key means is the handler's business.
"""

import asyncio
import random
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from enum import Enum
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

WORKERS = 8
URGENT_WORKERS = 2
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 300.0
JITTER = 0.1


class Cause(Enum):
    """Why a key is looked at: something may have changed (also: the last look failed), or its own pause is over."""

    WOKEN = "woken"
    TIMER = "timer"


def backoff_seconds(failures: int, first: float, longest: float) -> float:
    """Pause after the n-th failure in a row: doubled each time, up to `longest`."""
    return min(longest, first * 2.0 ** min(failures - 1, 40))


class KeyQueue(Generic[K]):
    """Lives in the event loop that runs it; `add` from another thread goes through loop.call_soon_threadsafe."""

    def __init__(
        self,
        handle: Callable[[K, Cause], Awaitable[float | None]],
        *,
        on_error: Callable[[K, Exception], None],
        workers: int = WORKERS,
        is_urgent: Callable[[K], bool] = lambda _: False,
        urgent_workers: int = URGENT_WORKERS,
        first_pause: float = FIRST_PAUSE_SECONDS,
        longest_pause: float = LONGEST_PAUSE_SECONDS,
        jitter: Callable[[], float] = lambda: 1.0 + JITTER * random.random(),
    ) -> None:
        self._handle = handle
        self._on_error = on_error
        self._workers = workers
        self._is_urgent = is_urgent
        self._urgent_workers = urgent_workers
        self._first_pause = first_pause
        self._longest_pause = longest_pause
        self._jitter = jitter
        # An OrderedDict: taking the first key of a plain dict is quadratic.
        self._ready: OrderedDict[K, Cause] = OrderedDict()
        self._urgent: OrderedDict[K, Cause] = OrderedDict()
        self._running: set[K] = set()
        self._dirty: dict[K, Cause] = {}
        self._failures: dict[K, int] = {}
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        """Keys that wait for a worker now."""
        return len(self._ready) + len(self._urgent)

    def add(self, key: K) -> None:
        """Look at the key as soon as a worker is free; cuts a pause short."""
        self._add(key, Cause.WOKEN)

    def add_after(self, key: K, seconds: float) -> None:
        """Look at the key in so many seconds, or earlier when an earlier look is planned already."""
        if key in self._ready or key in self._urgent or key in self._dirty:
            return
        loop = asyncio.get_running_loop()
        planned = self._timers.get(key)
        if planned is not None and planned.when() <= loop.time() + seconds:
            return
        self._cancel_timer(key)
        self._timers[key] = loop.call_later(seconds, self._add, key, Cause.TIMER)

    async def run(self) -> None:
        """Work until cancelled; the handlers that run then are cancelled and awaited."""
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(self._workers):
                    group.create_task(self._work(self._urgent, self._ready), name=f"worker-{number}")
                for number in range(self._urgent_workers):
                    group.create_task(self._work(self._urgent), name=f"urgent-worker-{number}")
        finally:
            for timer in self._timers.values():
                timer.cancel()
            self._timers.clear()

    async def _work(self, *lanes: OrderedDict[K, Cause]) -> None:
        while True:
            while (lane := next(filter(None, lanes), None)) is None:
                self._wake.clear()
                await self._wake.wait()
            key, cause = lane.popitem(last=False)
            self._running.add(key)
            pause = await self._handled(key, cause)
            self._running.discard(key)
            if key in self._dirty:
                self._add(key, self._dirty.pop(key))
            elif pause is not None:
                self.add_after(key, pause)

    async def _handled(self, key: K, cause: Cause) -> float | None:
        if key in self._failures:
            cause = Cause.WOKEN  # what the failed look did not see is still to be seen
        try:
            pause = await self._handle(key, cause)
        except Exception as error:  # noqa: BLE001 - whatever a handler raises: the key is tried again and on_error told
            self._on_error(key, error)
            self._failures[key] = self._failures.get(key, 0) + 1
            return backoff_seconds(self._failures[key], self._first_pause, self._longest_pause) * self._jitter()
        self._failures.pop(key, None)
        return pause

    def _add(self, key: K, cause: Cause) -> None:
        self._cancel_timer(key)
        if key in self._running:
            waiting: dict[K, Cause] = self._dirty
        elif key in self._ready:
            waiting = self._ready  # it keeps its place
        else:
            waiting = self._urgent if self._is_urgent(key) else self._ready
        if waiting.get(key) is not Cause.WOKEN:
            waiting[key] = cause
        self._wake.set()

    def _cancel_timer(self, key: K) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
