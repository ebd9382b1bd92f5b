"""A message that does not arrive: why it was given up. On the servers' own event loop, whose timers may be early."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import uvloop

from headrace_serving import arrivals
from headrace_serving.arrivals import MIN_PLACES, Arrivals
from headrace_serving.failures import IncompleteError

LATE = "the message did not arrive within 0.0104 s; --x raises that"
PRESSED = "the message took long, and the server needs its place for others"


async def nothing() -> AsyncIterator[bytes]:
    await asyncio.Event().wait()
    yield b""


async def why(messages: Arrivals) -> tuple[int, str]:
    with pytest.raises(IncompleteError) as caught:
        await messages.message(nothing())
    return caught.value.status, caught.value.message


def test_a_message_that_is_late_was_not_in_anybodys_way():
    """uvloop rounds to milliseconds: it takes 10.4 ms for over when 10 are."""

    async def scenario() -> set[tuple[int, str]]:
        messages = Arrivals(max_message_bytes=1, max_buffered_bytes=1, seconds=0.0104, flag="--x")
        return {await why(messages) for _ in range(20)}

    assert uvloop.run(scenario()) == {(408, LATE)}


def test_a_message_that_took_long_was_in_the_way_of_one_that_waited(monkeypatch):
    monkeypatch.setattr(arrivals, "SLOW_SECONDS", 0.0104)

    async def scenario() -> list[tuple[int, str]]:
        messages = Arrivals(max_message_bytes=1, max_buffered_bytes=1, seconds=600, flag="--x")
        under_way = [asyncio.ensure_future(why(messages)) for _ in range(MIN_PLACES)]
        await asyncio.sleep(0)
        others = [asyncio.ensure_future(why(messages)) for _ in range(MIN_PLACES)]
        given_up = await asyncio.gather(*under_way)
        for other in others:
            other.cancel()
        return given_up

    assert uvloop.run(scenario()) == [(408, PRESSED)] * MIN_PLACES
