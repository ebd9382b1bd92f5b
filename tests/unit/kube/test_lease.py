"""The elector's rules, with an API server in memory and clocks that the test moves.

The same with real processes, a real API server and its audit log: tests/integration/test_lease.py.
"""

import asyncio
import copy
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from headrace.kube.errors import ApiUnavailable, Conflict
from headrace.kube.lease import EXIT_STUCK, Lease


class Store:
    """One Lease with optimistic concurrency. `fail` makes calls raise, `hang` makes them never answer."""

    def __init__(self):
        self.lease = None
        self.version = 0
        self.fail = False
        self.hang = False
        self.on_call = lambda: None

    async def _answer(self):
        self.on_call()
        if self.hang:
            await asyncio.Event().wait()
        if self.fail:
            raise ApiUnavailable("away")

    async def get(self, resource, namespace, name):
        await self._answer()
        return copy.deepcopy(self.lease)

    async def create(self, resource, obj):
        await self._answer()
        if self.lease is not None:
            raise Conflict("exists")
        self._store(obj)

    async def replace(self, resource, obj):
        await self._answer()
        if obj["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
            raise Conflict("changed")
        self._store(obj)

    def _store(self, obj):
        self.version += 1
        self.lease = copy.deepcopy(obj)
        self.lease["metadata"]["resourceVersion"] = str(self.version)


class Clock:
    def __init__(self, now=1000.0):
        self.now = now

    def __call__(self):
        return self.now


def candidate(store, name, clock=None):
    return Lease(store, "system", "headrace", name, clock=clock or Clock())


def attempt(lease):
    return asyncio.run(lease.attempt(3.0))


def test_the_first_takes_it_and_a_second_does_not():
    store = Store()
    first, second = candidate(store, "first"), candidate(store, "second")

    assert attempt(first)
    assert first.valid()
    assert not attempt(second)
    assert not second.valid()


def test_validity_ends_ten_seconds_after_the_renewal_was_sent_not_after_it_was_answered():
    store, clock = Store(), Clock()
    lease = candidate(store, "first", clock)

    def slow():
        clock.now += 2.0

    store.on_call = slow
    assert attempt(lease)
    assert clock.now == 1004.0
    clock.now = 1009.9
    assert lease.valid()
    clock.now = 1010.0
    assert not lease.valid()


def test_another_takes_over_only_when_it_saw_no_change_for_the_whole_duration():
    store = Store()
    holder_clock, other_clock = Clock(), Clock(5.0)
    holder, other = candidate(store, "holder", holder_clock), candidate(store, "other", other_clock)
    assert attempt(holder)
    assert not attempt(other)
    other_clock.now += 14.9
    assert attempt(holder)
    assert not attempt(other), "a renewal starts the wait anew"
    other_clock.now += 14.9
    assert not attempt(other)
    other_clock.now += 0.2
    assert attempt(other)
    assert store.lease["spec"]["holderIdentity"] == "other"
    assert store.lease["spec"]["leaseTransitions"] == 1


def test_the_times_in_the_lease_are_not_believed():
    store, clock = Store(), Clock()
    assert attempt(candidate(store, "holder"))
    store.lease["spec"]["renewTime"] = "2001-01-01T00:00:00.000000Z"

    assert not attempt(candidate(store, "other", clock))


def test_one_that_the_lease_was_taken_from_knows_it_at_the_next_attempt():
    store = Store()
    clock = Clock()
    former = candidate(store, "former", clock)
    assert attempt(former)
    store.lease["spec"]["holderIdentity"] = "other"
    store._store(store.lease)

    assert not attempt(former)


def test_a_race_for_a_free_lease_has_one_winner():
    store = Store()
    assert attempt(candidate(store, "former"))
    store.lease["spec"].update(holderIdentity="", leaseDurationSeconds=1)
    one, two = candidate(store, "one"), candidate(store, "two")

    async def race():
        # Both have read the free lease before either writes.
        both_read = asyncio.Barrier(2)
        read = store.get

        async def get_together(*args):
            live = await read(*args)
            await both_read.wait()
            return live

        store.get = get_together
        return await asyncio.gather(one.attempt(3.0), two.attempt(3.0))

    assert sorted(asyncio.run(race())) == [False, True]


@pytest.mark.parametrize("trouble", ["fail", "hang"])
def test_an_api_server_that_is_away_or_silent_is_a_no_in_time(trouble):
    store = Store()
    setattr(store, trouble, True)
    lease = candidate(store, "first")

    assert not asyncio.run(lease.attempt(0.05))
    assert not lease.valid()


def quick(store, name="first", duration=20):
    """It lasts for two seconds: work that a busy machine holds up for less does not lose it."""
    return Lease(
        store,
        "system",
        "headrace",
        name,
        duration_seconds=duration,
        renew_seconds=2.0,
        retry_seconds=0.05,
        call_seconds=1.0,
    )


@pytest.mark.parametrize("trouble", ["fail", "hang"])
def test_work_is_cancelled_and_awaited_when_renewals_fail_and_starts_again_when_they_succeed(trouble):
    store = Store()
    lease = quick(store)
    journal = []

    async def work():
        journal.append("start")
        try:
            await asyncio.Event().wait()
        finally:
            journal.append("cancelled")
            await asyncio.sleep(0.05)
            journal.append("ended")

    async def main():
        running = asyncio.create_task(lease.run(work))
        while "start" not in journal:
            await asyncio.sleep(0.01)
        setattr(store, trouble, True)
        while "ended" not in journal:
            await asyncio.sleep(0.01)
        assert not lease.valid()
        setattr(store, trouble, False)
        while journal.count("start") < 2:
            await asyncio.sleep(0.01)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    async def bounded():
        async with asyncio.timeout(60):
            await main()

    asyncio.run(bounded())
    assert journal == ["start", "cancelled", "ended"] * 2


def test_a_stop_ends_the_work_first_and_then_releases_the_lease():
    store = Store()
    lease = quick(store)
    holders = []

    async def work():
        try:
            await asyncio.Event().wait()
        finally:
            holders.append((store.lease["spec"]["holderIdentity"], lease.valid()))

    async def main():
        running = asyncio.create_task(lease.run(work))
        while not lease.valid():
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(main())
    assert holders == [("first", True)]
    assert store.lease["spec"]["holderIdentity"] == ""
    assert not lease.valid()


def test_an_error_of_the_work_ends_the_process_with_that_error_and_the_lease_released():
    store = Store()

    async def work():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(quick(store).run(work))
    assert store.lease["spec"]["holderIdentity"] == ""


def test_work_that_does_not_stop_takes_the_process_with_it():
    script = textwrap.dedent(
        """
        import asyncio, sys
        sys.path.insert(0, sys.argv[1])
        from test_lease import Store, quick

        started = asyncio.Event()

        async def stubborn():
            started.set()
            while True:
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    pass

        async def main():
            store = Store()
            running = asyncio.create_task(quick(store, duration=4).run(stubborn))
            await started.wait()
            store.fail = True
            await running

        asyncio.run(main())
        """
    )
    ended = subprocess.run([sys.executable, "-c", script, str(Path(__file__).parent)], timeout=120, check=False)
    assert ended.returncode == EXIT_STUCK


def test_a_lease_that_could_not_be_renewed_in_time_is_refused():
    with pytest.raises(ValueError, match="within less than its duration"):
        Lease(Store(), "system", "headrace", "x", duration_seconds=10, renew_seconds=10.0)
