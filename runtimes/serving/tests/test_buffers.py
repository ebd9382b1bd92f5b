"""The room for the bytes of all requests."""

from __future__ import annotations

import pytest

from headrace_serving.buffers import Buffers
from headrace_serving.failures import RequestError


def refused(share, size: int) -> int:
    with pytest.raises(RequestError) as caught:
        share.take(size)
    return caught.value.status


def test_requests_share_the_room_and_give_it_back():
    buffers = Buffers(100)
    with buffers.share() as first:
        first.take(60)
        with buffers.share() as second:
            assert refused(second, 41) == 503
            second.take(40)
            assert refused(first, 1) == 503
        first.take(40)
    with buffers.share() as third:
        third.take(100)


def test_a_request_that_was_given_up_takes_no_more_room():
    """A thread may still unpack its body: what it took then, nobody would give back."""
    buffers = Buffers(100)
    with buffers.share() as given_up:
        given_up.take(10)

    assert refused(given_up, 10) == 503

    with buffers.share() as next_one:
        next_one.take(100)
