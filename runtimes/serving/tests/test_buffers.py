"""The room for the bytes of all requests."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from types import SimpleNamespace

import pytest

from headrace_serving import buffers
from headrace_serving.buffers import Buffers
from headrace_serving.failures import RequestError


def refused(share, size: int) -> int:
    with pytest.raises(RequestError) as caught:
        share.take(size)
    return caught.value.status


def test_requests_share_the_room_and_give_it_back():
    room = Buffers(100)
    with room.share() as first:
        first.take(60)
        with room.share() as second:
            assert refused(second, 41) == 503
            second.take(40)
            assert refused(first, 1) == 503
        first.take(40)
    with room.share() as third:
        third.take(100)


def test_a_request_that_was_given_up_takes_no_more_room():
    """A thread may still unpack its body: what it took then, nobody would give back."""
    room = Buffers(100)
    with room.share() as given_up:
        given_up.take(10)

    assert refused(given_up, 10) == 503

    with room.share() as next_one:
        next_one.take(100)


@pytest.fixture
def clock(monkeypatch):
    """Time as the tests set it."""
    now = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(buffers.time, "monotonic", lambda: now.seconds)
    return now


def test_bodies_that_take_long_make_room_for_others_the_oldest_first(clock):
    room, given_up = Buffers(100), []
    with ExitStack() as stack:
        shares = {}
        for name, size in (("oldest", 50), ("empty", 0), ("older", 30), ("recent", 20)):
            shares[name] = stack.enter_context(room.share())
            stack.enter_context(shares[name].under_way(partial(given_up.append, name)))
            shares[name].take(size)
            clock.seconds += 0.9
        newcomer = stack.enter_context(room.share())

        newcomer.take(40)
        assert given_up == ["oldest"]
        assert refused(shares["oldest"], 1) == 408
        newcomer.take(40)
        assert given_up == ["oldest", "older"]
        assert refused(newcomer, 1) == 503, "what came within the last second makes no room"
    with room.share() as next_one:
        next_one.take(100)


def test_nobody_is_given_up_in_vain_nor_for_one_that_began_later(clock):
    room, given_up = Buffers(100), []
    with ExitStack() as stack:
        first, second = (stack.enter_context(room.share()) for _ in range(2))
        for share in (first, second):
            stack.enter_context(share.under_way(partial(given_up.append, share)))
            share.take(40)
        clock.seconds += 60
        newcomer = stack.enter_context(room.share())

        assert refused(first, 30) == 503, "the other one began later"
        assert refused(newcomer, 101) == 503, "not even all of it would do"
        assert given_up == []
        second.take(60)
        assert given_up == [first]
