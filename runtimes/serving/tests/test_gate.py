"""Who is let in, and when it is quiet."""

from __future__ import annotations

import asyncio
import time

import pytest

from headrace_serving.failures import RequestError
from headrace_serving.gate import Gate


def test_more_than_fit_are_refused_and_nobody_is_forgotten():
    gate = Gate(max_in_flight=1)
    with gate.admitted():
        with pytest.raises(RequestError) as caught, gate.admitted():
            pytest.fail("two are inside")
        assert gate.in_flight == 1
    assert caught.value.status == 503
    assert gate.in_flight == 0


def test_whoever_sends_a_body_takes_nobodys_place_and_is_told_early_where_there_is_none():
    gate = Gate(max_in_flight=1)
    with gate.arrival(), gate.arrival(), gate.admitted():
        assert (gate.arriving, gate.in_flight) == (2, 1)
        with pytest.raises(RequestError) as caught, gate.arrival():
            pytest.fail("its body would be read for nothing")
    assert caught.value.status == 503
    assert (gate.arriving, gate.in_flight) == (0, 0)


def quiet_after(gate: Gate, quiet_seconds: float, deadline_seconds: float) -> tuple[bool, float]:
    started = time.monotonic()
    return asyncio.run(gate.quiet(quiet_seconds, deadline_seconds)), time.monotonic() - started


def test_it_is_quiet_when_nobody_has_come_for_a_while():
    gate = Gate(max_in_flight=1)
    with gate.admitted():
        pass
    is_quiet, seconds = quiet_after(gate, 0.2, 600)
    assert is_quiet
    assert 0.2 <= seconds < 300


def test_at_the_deadline_it_counts_whether_anybody_is_inside():
    gate = Gate(max_in_flight=1)
    assert quiet_after(gate, 30, 0.05)[0]
    for inside in (gate.admitted, gate.arrival):
        with inside():
            assert not quiet_after(gate, 0, 0.05)[0]
