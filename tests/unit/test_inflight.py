"""A pass gives a slow system a moment and gets its answer at a later pass."""

import asyncio

import pytest

from headrace import inflight
from headrace.inflight import InFlight, StillWaiting


class System:
    """Answers when `gate` is opened, each call with its number."""

    def __init__(self):
        self.gate = asyncio.Event()
        self.calls = 0
        self.cancelled = 0

    async def __call__(self):
        self.calls += 1
        number = self.calls
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return number


def play(scenario, patience=0.5):
    async def main():
        system, calls = System(), InFlight(patience)
        await scenario(system, calls)
        await calls.close()

    asyncio.run(main())


def test_a_quick_answer_is_given_at_once_and_the_next_question_is_a_new_call():
    async def scenario(system, calls):
        system.gate.set()
        assert [await calls.result("a", system), await calls.result("a", system)] == [1, 2]

    play(scenario)


def test_who_asks_waits_a_moment_and_who_asks_again_does_not_wait_at_all():
    async def scenario(system, calls):
        loop = asyncio.get_running_loop()
        with pytest.raises(StillWaiting):
            await calls.result("a", system)
        begun = loop.time()
        for _ in range(20):
            with pytest.raises(StillWaiting):
                await calls.result("a", system)
        assert loop.time() - begun < 5, "a moment each would be ten seconds"
        assert system.calls == 1

    play(scenario)


def test_the_answer_that_came_meanwhile_is_given_to_the_next_who_asks():
    async def scenario(system, calls):
        with pytest.raises(StillWaiting):
            await calls.result("a", system)
        system.gate.set()
        await asyncio.sleep(0)
        assert await calls.result("a", system) == 1

    play(scenario)


def test_all_who_ask_together_get_the_same_answer():
    async def scenario(system, calls):
        asyncio.get_running_loop().call_later(0.01, system.gate.set)
        assert await asyncio.gather(*(calls.result("a", system) for _ in range(5))) == [1] * 5

    play(scenario, patience=60)


def test_an_error_reaches_who_asks():
    async def fails():
        raise OSError("gone")

    async def scenario(system, calls):
        with pytest.raises(OSError, match="gone"):
            await calls.result("a", fails)

    play(scenario)


def test_a_question_about_something_else_does_not_get_the_old_answer():
    async def scenario(system, calls):
        with pytest.raises(StillWaiting):
            await calls.result("a", system, about="old spec")
        system.gate.set()
        assert await calls.result("a", system, about="new spec") == 2
        assert system.cancelled == 1

    play(scenario)


def test_an_answer_that_lay_about_for_long_is_asked_for_anew(monkeypatch):
    monkeypatch.setattr(inflight, "FRESH_SECONDS", 0.0)

    async def scenario(system, calls):
        with pytest.raises(StillWaiting):
            await calls.result("a", system)
        system.gate.set()
        await asyncio.sleep(0.01)
        assert await calls.result("a", system) == 2

    play(scenario)


def test_what_is_under_way_ends_with_the_end():
    async def scenario(system, calls):
        with pytest.raises(StillWaiting):
            await calls.result("a", system)
        await calls.close()
        assert system.cancelled == 1

    play(scenario)
