"""Told to stop while loading, and from ready to the end; how it ends under load is tested with each server."""

from __future__ import annotations

import asyncio
import gc
import os
import signal

import pytest

from headrace_serving import lifecycle
from headrace_serving.failures import Reason, StartError
from headrace_serving.gate import Gate


@pytest.fixture(autouse=True)
def _nothing_stays_frozen():
    yield
    gc.unfreeze()


def test_sigterm_tells_to_stop_and_the_exit_code_is_what_is_given():
    async def serve(stop: asyncio.Event) -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(stop.wait(), 60)
        return 7

    assert lifecycle.run(serve) == 7


async def load(seconds: float = 0, error: Exception | None = None) -> str:
    await asyncio.sleep(seconds)
    if error is not None:
        raise error
    return "model"


def test_a_model_is_loaded_unless_the_server_is_told_to_stop_before():
    async def scenario() -> list[str | None]:
        stop = asyncio.Event()
        in_time = await lifecycle.loaded(asyncio.ensure_future(load()), stop)
        asyncio.get_running_loop().call_later(0.05, stop.set)
        return [in_time, await lifecycle.loaded(asyncio.ensure_future(load(60)), stop)]

    assert asyncio.run(scenario()) == ["model", None]


def test_a_model_that_cannot_be_loaded_is_a_failed_start():
    async def scenario() -> None:
        loading = asyncio.ensure_future(load(error=StartError(Reason.MODEL_CORRUPT, "", "")))
        await lifecycle.loaded(loading, asyncio.Event())

    with pytest.raises(StartError):
        asyncio.run(scenario())


@pytest.mark.parametrize(("inside", "code"), [(0, 0), (1, 1)])
def test_the_end_is_good_when_every_request_was_answered(inside, code, caplog):
    gate = Gate(max_in_flight=9)
    gate.in_flight = inside

    async def scenario() -> int:
        stop = asyncio.Event()
        stop.set()
        return await lifecycle.until_quiet(stop, gate, quiet_seconds=0, grace_seconds=0.05)

    assert asyncio.run(scenario()) == code
    assert gate.is_draining
    assert ("ending with requests in flight after 0.05 s" in caplog.text) == bool(code)
