"""Several threads that work through one list."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

T = TypeVar("T")
_END_SECONDS = 1.0  # what does not hang has seen by then that nobody wants it any more


class Crew(Generic[T]):
    """`work` is done with each item, at most `at_once` at the same time. Once `stop` is set nobody wants it any more:
    `work` is to look at it, and to raise `quits`.
    """

    def __init__(self, work: Callable[[T], None], at_once: int, stop: threading.Event, quits: type[Exception]) -> None:
        self._work, self._stop, self._quits = work, stop, quits
        self._turn = threading.Lock()
        self._ended: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        self._at_once = at_once
        self._threads: list[threading.Thread] = []

    def work_through(self, items: Iterable[T]) -> None:
        """Returns when all are done. The first error sets `stop` and is raised within a second, whatever other threads
        still wait for; so is what a signal's handler raises here.
        """
        waiting = iter(items)
        # Not a pool: Python waits for a pool's threads before it ends, and these may hang in a read for many seconds.
        self._threads = [
            threading.Thread(target=self._take_turns, args=(waiting,), name=f"fetch-{number}", daemon=True)
            for number in range(self._at_once)
        ]
        for thread in self._threads:
            thread.start()
        try:
            for _ in self._threads:
                if (error := self._ended.get()) is not None:
                    raise error
        finally:
            self._stop.set()
            self.join(_END_SECONDS)

    def join(self, seconds: float | None = None) -> None:
        """Waits until no thread is at work any more, or so many seconds have passed."""
        until = None if seconds is None else time.monotonic() + seconds
        for thread in self._threads:
            thread.join(None if until is None else max(0.0, until - time.monotonic()))

    def _take_turns(self, waiting: Iterable[T]) -> None:
        error: BaseException | None = None
        try:
            while not self._stop.is_set():
                with self._turn:
                    found = next(((item,) for item in waiting), None)
                if found is None:
                    break
                self._work(*found)
        except self._quits:
            pass
        except BaseException as raised:  # noqa: BLE001 - it is raised in the thread that waits
            error = raised
        self._ended.put(error)
