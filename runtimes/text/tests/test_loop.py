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
GREEDY = Sampling(temperature=0, top_k=0, top_p=1, seed=None)


class Held:
    """A decoder that steps when it is let, and breaks when it is told to."""

    context = 50

    def __init__(self, slots):
        self.slots = slots
        self.may_go = threading.Event()
        self.is_broken = False

    def read(self, *_):
        assert self.may_go.wait(60)
        if self.is_broken:
            raise RuntimeError("a fault of ours")
        return np.eye(1, 300)[0]

    def step(self, texts, _first):
        return np.repeat(self.read()[None], len(texts), 0)

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


def test_a_fault_of_ours_is_told_to_all_who_wait_and_nobody_waits_any_more(caplog):
    async def test(decoder, loop):
        requests = [Request(loop) for _ in range(5)]
        decoder.is_broken = True
        decoder.may_go.set()
        assert {(await one.end()).error.status for one in requests} == {500}
        assert loop.is_broken
        with pytest.raises(RequestError) as refused:
            Request(loop)
        assert refused.value.status == 503

    run(test)
    assert "a fault of ours" in caplog.text
