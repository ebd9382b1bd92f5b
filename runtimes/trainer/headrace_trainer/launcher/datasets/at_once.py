"""Many small things that each wait for the network, some of them at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Lock
from typing import TypeVar

T = TypeVar("T")


def for_each(items: Iterable[T], work: Callable[[T], object], at_once: int) -> None:
    """Does `work` with each item. Once one has failed no other begins; its error is raised when those under way have
    ended. However many items there are, `at_once` of them are held.
    """
    waiting, turn, failed = iter(items), Lock(), Event()

    def take_turns() -> None:
        while not failed.is_set():
            with turn:
                found = next(((item,) for item in waiting), None)
            if found is None:
                return
            try:
                work(*found)
            except BaseException:
                failed.set()
                raise

    with ThreadPoolExecutor(at_once, thread_name_prefix="datasets") as pool:
        futures = [pool.submit(take_turns) for _ in range(at_once)]
    for future in futures:
        future.result()
