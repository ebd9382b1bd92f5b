"""What the pod's log says of a load that takes long."""

from __future__ import annotations

import logging

import pytest

from headrace_loader import progress as module
from headrace_loader.progress import Progress

HOUR = 3600


@pytest.fixture
def clock(monkeypatch):
    """Seconds that a test sets."""
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def lines_of(seconds, clock, caplog):
    with caplog.at_level(logging.INFO, "headrace_loader"):
        progress = Progress()
        progress.begin(seconds * 1_000_000, 0)
        for second in range(seconds):
            clock[0] = second + 1.0
            progress.add(1_000_000)
    return caplog.messages


def test_a_short_load_says_nothing_on_its_way(clock, caplog):
    assert lines_of(4, clock, caplog) == []


def test_a_line_says_how_much_how_fast_and_how_long_still(clock, caplog):
    assert lines_of(9, clock, caplog) == ["5.0 of 9.0 MB, 1.0 MB/s, about 4 s left"]


def test_an_hour_takes_a_few_lines(clock, caplog):
    assert 10 <= len(lines_of(HOUR, clock, caplog)) <= 20
