"""Bounds how many messages of gRPC are under way at a time, so that those which do not come whole hold little memory.

gRPC shows nothing of a message before it is whole. What it holds of one that nobody has asked for is a window
(rpc.py); of one that is asked for it lets all come. So the number of those that are asked for is bounded, and slow
senders do not keep their places from others: where somebody waits, the message under way the longest is given up.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from headrace_serving.buffers import SLOW_SECONDS
from headrace_serving.failures import IncompleteError, RequestError

# However large one message may be: one slow sender more is no reason to give one up.
MIN_PLACES = 4
# Of a message that is a name, or nothing.
SHORT_BYTES = 64 * 1024
SHORT_SECONDS = 5.0


class Arrivals:
    """The messages of one server. All of it is used on the event loop.

    A message takes `seconds` at most, which `flag` raises. All that are under way hold as many bytes as
    `max_buffered_bytes`, or MIN_PLACES times `max_message_bytes` where that is more.
    """

    def __init__(self, *, max_message_bytes: int, max_buffered_bytes: int, seconds: float, flag: str) -> None:
        self._free = max(MIN_PLACES, max_buffered_bytes // max_message_bytes)
        self._seconds = seconds
        self._flag = flag
        # In the order in which they began; a given-up one is not given up again.
        self._under_way: dict[asyncio.Timeout, float] = {}
        # The last one is the next: those before it are as likely to be senders of nothing.
        self._waiting: list[asyncio.Future[None]] = []

    async def message(self, arriving: AsyncIterator[bytes]) -> bytes:
        """The one message of a call. Raises IncompleteError(400, 408, 503)."""
        text = f"the message did not arrive within {self._seconds:g} s; {self._flag} raises that"
        return await self._next(arriving, self._seconds, text)

    async def short_message(self, arriving: AsyncIterator[bytes]) -> bytes:
        """One of at most SHORT_BYTES. Raises IncompleteError(400, 408, 503), RequestError(413)."""
        seconds = min(SHORT_SECONDS, self._seconds)
        message = await self._next(arriving, seconds, f"the message did not arrive within {seconds:g} s")
        if len(message) > SHORT_BYTES:
            raise RequestError(413, f"the message has more than {SHORT_BYTES} bytes")
        return message

    async def _next(self, arriving: AsyncIterator[bytes], seconds: float, late: str) -> bytes:
        deadline = asyncio.get_running_loop().time() + seconds
        await self._place(deadline)
        limit = asyncio.timeout_at(deadline)
        try:
            async with limit:
                self._under_way[limit] = asyncio.get_running_loop().time()
                self._press()
                message = await anext(arriving, None)
        except TimeoutError as error:
            # By what it was set to, and not by the clock: a timer of uvloop may fire a moment before its time.
            is_late = limit.when() == deadline
            text = late if is_late else "the message took long, and the server needs its place for others"
            raise IncompleteError(408, text) from error
        finally:
            self._under_way.pop(limit, None)
            self._pass_on()
        if message is None:
            # None was sent; or it was larger than the bound, or broken off, of which gRPC tells the client itself.
            raise IncompleteError(400, "there is no message")
        return message

    async def _place(self, deadline: float) -> None:
        if self._free:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._press()
        try:
            async with asyncio.timeout_at(deadline):
                await turn
        except BaseException as error:
            if turn in self._waiting:
                self._waiting.remove(turn)
            elif not turn.cancelled():
                self._pass_on()
            if isinstance(error, TimeoutError):
                text = "the server receives as many messages as it may; try again"
                raise IncompleteError(503, text) from error
            raise

    def _pass_on(self) -> None:
        while self._waiting:
            turn = self._waiting.pop()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def _press(self) -> None:
        """For each one who waits, the next message under way has an end: a moment after its begin."""
        now = asyncio.get_running_loop().time()
        for limit, began in list(self._under_way.items())[: len(self._waiting)]:
            end = max(now, began + SLOW_SECONDS)
            if not limit.expired() and (limit.when() or end) > end:
                limit.reschedule(end)
