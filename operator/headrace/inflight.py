"""Calls that go on while nobody waits: a pass gives a slow system a moment, and asks for the answer again at its next.

What a call means is its caller's business; here it is known by a key and made once at a time. Calls that still run when
the lease is lost are cancelled and awaited.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, NamedTuple, TypeVar

PATIENCE_SECONDS = 1.0
# An answer that nobody fetched for longer is not an answer any more.
FRESH_SECONDS = 15.0

K = TypeVar("K", bound=Hashable)
R = TypeVar("R")


class StillWaiting(Exception):
    """The call has not come back yet; it goes on."""


class _Call(NamedTuple):
    about: Hashable
    task: asyncio.Task[Any]
    begun: float  # seconds, as the event loop's clock


class InFlight(Generic[K, R]):
    """The calls under way, by key."""

    def __init__(self, patience_seconds: float | None = None) -> None:
        self._patience = PATIENCE_SECONDS if patience_seconds is None else patience_seconds
        self._calls: dict[K, _Call] = {}

    async def result(self, key: K, call: Callable[[], Coroutine[Any, Any, R]], *, about: Hashable = None) -> R:
        """What the call of this key came to, begun now unless it is under way. Raises what it raised, or StillWaiting.

        All who ask wait until a moment after it began, and no longer. The next question after an answer is a new call,
        and so is one about something else than the call under way.
        """
        loop = asyncio.get_running_loop()
        under_way = self._calls.get(key)
        if under_way is not None and (under_way.about != about or _is_stale(under_way, loop.time())):
            await self.forget(key)
            under_way = None
        if under_way is None:
            task = loop.create_task(call(), name=f"call of {key}")
            under_way = self._calls[key] = _Call(about, task, loop.time())
        patience = max(0.0, under_way.begun + self._patience - loop.time())
        await asyncio.wait({under_way.task}, timeout=patience)
        if not under_way.task.done():
            raise StillWaiting
        if self._calls.get(key) is under_way:
            del self._calls[key]
        result: R = under_way.task.result()
        return result

    def is_under_way(self, key: K) -> bool:
        """Whether there is a call whose result nobody has taken."""
        return key in self._calls

    async def forget(self, key: K) -> None:
        """End the call of this key, if there is one."""
        call = self._calls.pop(key, None)
        if call is not None:
            call.task.cancel()
            await asyncio.gather(call.task, return_exceptions=True)

    async def close(self) -> None:
        """End all calls."""
        for key in [*self._calls]:
            await self.forget(key)


def _is_stale(call: _Call, now: float) -> bool:
    return call.task.done() and now > call.begun + FRESH_SECONDS
