import asyncio

import pytest

from headrace.kube.queue import Cause, KeyQueue, backoff_seconds


class Handler:
    """Records the keys it is called with, and why; `answers` are returned or raised, one a call, then None."""

    def __init__(self, *answers, gate=None):
        self.answers = list(answers)
        self.gate = gate
        self.calls = []
        self.causes = []
        self.at = []
        self.active = 0
        self.most_active_by_key = {}

    async def __call__(self, key, cause):
        self.calls.append(key)
        self.causes.append(cause)
        self.at.append(asyncio.get_running_loop().time())
        self.most_active_by_key[key] = self.most_active_by_key.get(key, 0) + 1
        assert self.most_active_by_key[key] == 1, "two workers on one key"
        try:
            if self.gate is not None:
                await self.gate.wait()
        finally:
            self.most_active_by_key[key] -= 1
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            raise answer
        return answer


class Queue(KeyQueue):
    """Records the pauses that it plans: how long they are in the end says more of the machine."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.pauses = []

    def add_after(self, key, seconds):
        self.pauses.append(seconds)
        super().add_after(key, seconds)


def run(scenario, handler, **options):
    """Runs `scenario(queue)` beside the queue; gives back the errors it reported."""
    errors = []

    async def main():
        queue = Queue(handler, on_error=lambda key, error: errors.append((key, error)), **options)
        working = asyncio.create_task(queue.run())
        try:
            async with asyncio.timeout(60):
                await scenario(queue)
        finally:
            working.cancel()
            with pytest.raises(asyncio.CancelledError):
                await working

    asyncio.run(main())
    return errors


async def until(condition):
    while not condition():
        await asyncio.sleep(0.002)


def test_a_key_that_waits_is_handled_once_however_often_it_is_added():
    handler = Handler()

    async def scenario(queue):
        for _ in range(100):
            queue.add("a")
        queue.add("b")
        await until(lambda: len(handler.calls) == 2)
        await asyncio.sleep(0.02)

    run(scenario, handler)
    assert handler.calls == ["a", "b"]


def test_a_key_added_while_it_is_worked_on_is_handled_once_more_and_never_by_two_workers():
    async def scenario(queue):
        queue.add("a")
        await until(lambda: handler.calls == ["a"])
        queue.add("a")
        queue.add("a")
        await asyncio.sleep(0.02)
        assert handler.calls == ["a"]
        handler.gate.set()
        await until(lambda: len(handler.calls) == 2)
        await asyncio.sleep(0.02)

    handler = Handler(gate=asyncio.Event())
    run(scenario, handler, workers=8)
    assert handler.calls == ["a", "a"]


def test_other_keys_go_on_while_one_is_stuck():
    gate = asyncio.Event()
    seen = []

    async def handle(key, _):
        seen.append(key)
        if key == "stuck":
            await gate.wait()

    async def scenario(queue):
        queue.add("stuck")
        for number in range(20):
            queue.add(number)
        await until(lambda: len(seen) == 21)

    run(scenario, handle, workers=2)


def test_a_key_is_looked_at_again_after_the_seconds_its_handler_returned():
    handler = Handler(0.05)

    async def scenario(queue):
        queue.add("a")
        await until(lambda: len(handler.calls) == 2)

    run(scenario, handler)
    assert handler.at[1] - handler.at[0] >= 0.05


def test_an_event_cuts_a_pause_short():
    handler = Handler(60.0)

    async def scenario(queue):
        queue.add("a")
        await until(lambda: len(handler.calls) == 1)
        queue.add("a")
        await until(lambda: len(handler.calls) == 2)
        await asyncio.sleep(0.02)

    run(scenario, handler)
    assert handler.calls == ["a", "a"]


def test_of_two_planned_looks_the_earlier_one_stands():
    handler = Handler()

    async def scenario(queue):
        queue.add_after("a", 60)
        queue.add_after("a", 0.03)
        queue.add_after("a", 60)
        await until(lambda: len(handler.calls) == 1)
        await asyncio.sleep(0.02)

    run(scenario, handler)
    assert handler.calls == ["a"]


def test_a_failing_key_is_tried_again_with_growing_pauses_and_starts_over_after_a_success():
    handler = Handler(ValueError("1"), ValueError("2"), ValueError("3"), None, ValueError("4"))

    async def scenario(queue):
        queue.add("a")
        await until(lambda: len(handler.calls) == 4)
        queue.add("a")
        await until(lambda: len(handler.calls) == 6)
        pauses.extend(queue.pauses)

    pauses = []
    errors = run(scenario, handler, first_pause=0.02, longest_pause=0.05, jitter=lambda: 1.0)
    assert [str(error) for _, error in errors] == ["1", "2", "3", "4"]
    assert pauses == [0.02, 0.04, 0.05, 0.02], "the third is the longest; after a success it is the first again"


def test_a_handler_is_told_whether_somebody_woke_the_key_or_its_own_time_was_up():
    handler = Handler(0.01, 60.0)

    async def scenario(queue):
        queue.add("a")
        await until(lambda: len(handler.calls) == 2)
        queue.add("a")
        await until(lambda: len(handler.calls) == 3)

    run(scenario, handler)
    assert handler.causes == [Cause.WOKEN, Cause.TIMER, Cause.WOKEN]


def test_a_look_after_a_failed_one_counts_as_woken_until_one_succeeds():
    handler = Handler(0.01, ValueError("on a timer"), ValueError("again"), 0.01)

    async def scenario(queue):
        queue.add("a")
        await until(lambda: len(handler.calls) == 5)

    run(scenario, handler, first_pause=0.01)
    assert handler.causes == [Cause.WOKEN, Cause.TIMER, Cause.WOKEN, Cause.WOKEN, Cause.TIMER]


def test_a_key_woken_while_it_waits_or_is_worked_on_because_of_its_timer_is_woken():
    handler = Handler(0.01, None, 0.01, gate=asyncio.Event())

    async def scenario(queue):
        handler.gate.set()
        queue.add("a")
        await until(lambda: len(handler.calls) == 1)
        handler.gate.clear()
        await until(lambda: len(handler.calls) == 2)  # on its timer, and stuck
        queue.add("a")
        queue.add_after("a", 0)
        queue.add("b")
        queue.add_after("b", 0)
        handler.gate.set()
        await until(lambda: len(handler.calls) == 4)

    run(scenario, handler, workers=1)
    assert list(zip(handler.calls, handler.causes, strict=True))[1:4] == [
        ("a", Cause.TIMER),
        ("b", Cause.WOKEN),
        ("a", Cause.WOKEN),
    ]


def test_the_jitter_stretches_the_pause():
    handler = Handler(ValueError("1"))

    async def scenario(queue):
        queue.add("a")
        await until(lambda: len(handler.calls) == 2)

    run(scenario, handler, first_pause=0.02, jitter=lambda: 3.0)
    assert handler.at[1] - handler.at[0] >= 0.06


@pytest.mark.parametrize(
    ("failures", "seconds"), [(1, 0.5), (2, 1.0), (4, 4.0), (10, 256.0), (11, 300.0), (5000, 300.0)]
)
def test_pauses_double_up_to_the_longest(failures, seconds):
    assert backoff_seconds(failures, 0.5, 300.0) == seconds


def test_cancelling_the_queue_cancels_the_handlers_and_no_timer_fires_afterwards():
    ended = []

    async def handle(key):
        if key == "later":
            return 0.03
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(key)

    async def main():
        calls = []

        async def counting(key, _):
            calls.append(key)
            return await handle(key)

        queue = KeyQueue(counting, on_error=lambda *_: None)
        working = asyncio.create_task(queue.run())
        queue.add("later")
        queue.add("waits")
        await until(lambda: len(calls) == 2)
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working
        await asyncio.sleep(0.06)
        assert len(queue) == 0

    asyncio.run(main())
    assert ended == ["waits"]


def test_ten_thousand_keys_take_no_quadratic_time():
    handler = Handler()

    async def scenario(queue):
        for number in range(10_000):
            queue.add(number)
        await until(lambda: len(handler.calls) == 10_000)

    run(scenario, handler)


def test_urgent_keys_come_first_and_do_not_wait_for_workers_that_are_held_up():
    held_up = asyncio.Event()
    order = []

    async def handle(key, cause):
        order.append(key)
        if not key.startswith("urgent"):
            await held_up.wait()

    async def scenario(queue):
        for number in range(5):
            queue.add(f"slow-{number}")
        queue.add("urgent-1")
        await until(lambda: "urgent-1" in order)
        queue.add("urgent-2")
        await until(lambda: "urgent-2" in order)
        assert sum(key.startswith("slow") for key in order) == 2
        held_up.set()
        await until(lambda: len(order) == 7)

    assert run(scenario, handle, workers=2, urgent_workers=1, is_urgent=lambda key: key.startswith("urgent")) == []
    assert order[0] == "urgent-1"


def test_a_key_that_is_urgent_is_still_worked_on_by_one_worker_at_a_time():
    gate = asyncio.Event()
    handler = Handler(gate=gate)

    async def scenario(queue):
        queue.add("a")
        await until(lambda: handler.calls)
        queue.add("a")
        await asyncio.sleep(0.01)
        assert (len(handler.calls), len(queue)) == (1, 0)
        gate.set()
        await until(lambda: len(handler.calls) == 2)

    assert run(scenario, handler, is_urgent=lambda key: True) == []
