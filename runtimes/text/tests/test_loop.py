"""The thread that steps: its queue, and the day on which it has a fault of its own."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest
import text_models

from headrace_serving.failures import RequestError
from headrace_text.batch import Batch
from headrace_text.generation import Generation
from headrace_text.loop import FullError, Loop
from headrace_text.sampling import Sampler, Sampling
from headrace_text.stops import Stops
from headrace_text.tokens import Tokens

TOKENS = Tokens(text_models.tokenizer())
FAULTS = [RuntimeError("a fault of ours"), BaseException("a fault of ours, as a native library's panic")]
GREEDY = Sampling(temperature=0, top_k=0, top_p=1, seed=None)


class Held:
    """A decoder that steps when it is let, and breaks when it is told to."""

    context = 50

    def __init__(self, slots):
        self.slots = slots
        self.may_go = threading.Event()
        self.breaks_in = ""
        self.fault: BaseException = RuntimeError("a fault of ours")

    def read(self, *_):
        assert self.may_go.wait(60)
        self._break("read")
        return np.eye(1, 300)[0]

    def step(self, texts, _first):
        self._break("step")
        return np.repeat(np.eye(1, 300), len(texts), 0)

    def _break(self, where):
        if self.breaks_in == where:
            raise self.fault

    def move(self, *_): ...

    swap = move


class Request:
    """What one has been told."""

    def __init__(self, loop, tokens=3):
        self.told = asyncio.Queue()
        self.generation = Generation([1], tokens, Sampler(GREEDY), TOKENS.decoding(), Stops(()), self.told.put_nowait)
        loop.submit(self.generation)

    async def end(self):
        while True:
            news = await self.told.get()
            if news.end or news.error:
                return news


def run(test):
    async def with_loop():
        decoder = Held(2)
        loop = Loop(Batch(decoder, frozenset(), 8), 3)
        try:
            await asyncio.wait_for(test(decoder, loop), 120)
        finally:
            decoder.may_go.set()
            loop.close()

    asyncio.run(with_loop())


def test_as_many_requests_come_in_as_there_are_slots_and_places_in_the_queue():
    async def test(decoder, loop):
        requests = [Request(loop) for _ in range(5)]
        with pytest.raises(FullError):
            Request(loop)
        loop.cancel(requests[4].generation)  # it waits: its place is free
        requests[4] = Request(loop)
        decoder.may_go.set()
        assert [(await one.end()).tokens for one in requests] == [3] * 5

    run(test)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
def test_a_fault_of_ours_is_told_to_all_who_wait_and_nobody_waits_any_more(caplog, fault):
    async def test(decoder, loop):
        decoder.fault = fault
        requests = [Request(loop) for _ in range(5)]
        decoder.breaks_in = "read"
        decoder.may_go.set()
        assert {(await one.end()).error.status for one in requests} == {500}
        assert loop.is_broken
        with pytest.raises(RequestError) as refused:
            Request(loop)
        assert refused.value.status == 503

    run(test)
    assert "a fault of ours" in caplog.text


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_has_gone_is_a_fault_too(monkeypatch):
    async def test(decoder, loop):
        def die():
            raise MemoryError

        monkeypatch.setattr(loop, "_break", die)
        assert not loop.is_broken
        decoder.breaks_in = "read"
        decoder.may_go.set()
        Request(loop)
        await asyncio.to_thread(loop._thread.join)
        assert loop.is_broken

    run(test)


def test_a_loop_that_is_closed_is_not_broken():
    async def test(_decoder, loop):
        loop.close()
        assert not loop.is_broken

    run(test)


def test_who_ends_in_a_step_that_breaks_later_is_told_the_fault():
    async def test(decoder, loop):
        requests = [Request(loop, tokens=1), Request(loop)]
        decoder.breaks_in = "step"
        decoder.may_go.set()
        assert [(await one.end()).error.status for one in requests] == [500, 500]

    run(test)


def test_who_has_been_told_the_end_is_not_told_a_fault_that_comes_later():
    async def test(decoder, loop):
        decoder.may_go.set()
        ended = Request(loop, tokens=2)
        assert (await ended.end()).error is None
        decoder.breaks_in = "read"
        assert (await Request(loop).end()).error.status == 500
        assert ended.told.empty()

    run(test)
