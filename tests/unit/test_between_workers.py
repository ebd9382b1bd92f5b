"""What two workers of one run share, here two threads."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from between_workers import Ended, Shared


def test_what_all_need_is_made_by_one_and_the_others_wait_for_it(tmp_path):
    made = []
    with ThreadPoolExecutor(4) as workers:
        for _ in range(4):
            workers.submit(Shared(tmp_path, "platform").once, lambda: made.append(1))

    assert made == [1]


def test_what_could_not_be_made_is_tried_by_the_next(tmp_path):
    def fails():
        raise ValueError("no room")

    with pytest.raises(ValueError, match="no room"):
        Shared(tmp_path, "platform").once(fails)
    made = []
    Shared(tmp_path, "platform").once(lambda: made.append(1))

    assert made == [1]


def test_what_is_gone_is_made_anew(tmp_path):
    made = []
    for _ in range(2):
        Shared(tmp_path, "platform").once(lambda: made.append(1))
        Shared(tmp_path, "platform").forget()

    assert made == [1, 1]


def test_the_last_that_leaves_ends_what_all_have_used(tmp_path):
    events, both, first_has_left = [], threading.Barrier(2), threading.Event()

    def worker(name):
        with Shared(tmp_path, "cluster").used(lambda: events.append("begin"), lambda: events.append(f"end by {name}")):
            both.wait()
            if name == "last":
                first_has_left.wait()

    with ThreadPoolExecutor(2) as workers:
        last = workers.submit(worker, "last")
        workers.submit(worker, "first").result()
        first_has_left.set()
        last.result()

    assert events == ["begin", "begin", "end by last"]


def test_what_is_alone_waits_for_the_tests_of_all_others_and_not_for_ever(tmp_path):
    ended = Ended(tmp_path)
    ended.tell("a")
    with pytest.raises(pytest.fail.Exception, match=r"1 tests of other workers: \['b'\]"):
        ended.wait_for({"a", "b"}, seconds=0)
    ended.tell("b")

    ended.wait_for({"a", "b"}, seconds=0)
