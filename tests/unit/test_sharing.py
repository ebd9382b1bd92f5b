"""How workers share a cluster. Threads stand for them: each has its own open files, as a process has."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator

import pytest

from sharing import Sharing

SECONDS = 10.0


@pytest.fixture
def sharing() -> Iterator[Sharing]:
    shared = Sharing(f"unit-{uuid.uuid4().hex}")
    yield shared
    shared.remove()


def test_those_together_wait_for_none_of_them(sharing):
    with sharing.in_turn("cluster", alone=False), sharing.in_turn("cluster", alone=False):
        pass


def test_who_is_alone_waits_for_the_others_and_comes_before_who_asks_later(sharing):
    order: list[str] = []
    end = threading.Event()

    def early() -> None:
        with sharing.in_turn("cluster", alone=False):
            end.wait(SECONDS)
            order.append("early")

    def alone() -> None:
        with sharing.in_turn("cluster", alone=True):
            order.append("alone")

    def late() -> None:
        with sharing.in_turn("cluster", alone=False):
            order.append("late")

    threads = [threading.Thread(target=target) for target in (early, alone, late)]
    for thread in threads:
        thread.start()
        time.sleep(0.3)
    assert order == []
    end.set()
    for thread in threads:
        thread.join(SECONDS)

    assert order == ["early", "alone", "late"]


def test_the_last_who_leaves_knows_it(sharing):
    with sharing.together("users"):
        with sharing.together("users"):
            pass
        with sharing.leave_last("users") as is_last:
            assert not is_last
    with sharing.leave_last("users") as is_last:
        assert is_last


def test_one_of_a_run_is_the_first(sharing):
    assert [sharing.is_first("install", run) for run in ("a", "a", "b", "b")] == [True, False, True, False]
