"""The thread that steps: it takes requests from a bounded queue into the batch, and tells what each step brings."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from threading import Condition, Thread

from headrace_serving.failures import RequestError
from headrace_text.batch import Batch, Told
from headrace_text.generation import Generation

log = logging.getLogger("headrace_text")


class FullError(RequestError):
    """As many requests run and wait as may."""

    def __init__(self, waiting: int) -> None:
        super().__init__(429, f"{waiting} requests wait for their turn already; try again")


class Loop:
    """Used on the event loop, which gets the news too. `running` and `waiting` count requests; once `is_broken`, by a
    fault of ours, nobody is answered any more.
    """

    def __init__(self, batch: Batch, max_queue: int) -> None:
        self._batch = batch
        self._max_queue = max_queue
        self._changed = Condition()
        self._waiting: deque[Generation] = deque()
        # Used on the event loop: whoever has been told no end yet. News of a step that breaks are told to nobody.
        self._open: set[Generation] = set()
        self._is_closed = False
        self._has_failed = False
        self._event_loop = asyncio.get_running_loop()
        self._thread = Thread(target=self._run, name="steps", daemon=True)
        self._thread.start()
        self.running = 0

    @property
    def is_broken(self) -> bool:
        return self._has_failed or not (self._thread.is_alive() or self._is_closed)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def submit(self, generation: Generation) -> None:
        """Raises FullError."""
        with self._changed:
            if self.is_broken:
                raise RequestError(503, "the server has failed; its log says more")
            if len(self._waiting) + self._batch.size >= self._batch.slots + self._max_queue:
                raise FullError(self._max_queue)
            self._waiting.append(generation)
            self._open.add(generation)
            self._changed.notify()

    def cancel(self, generation: Generation) -> None:
        """Its slot is free before the next step. Of one that has ended, nothing happens."""
        generation.is_cancelled = True
        self._open.discard(generation)
        with self._changed:
            if generation in self._waiting:
                self._waiting.remove(generation)
            self._changed.notify()

    def close(self) -> None:
        """The step that is under way ends first."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        try:
            while self._fill():
                told = self._batch.advance()
                self._event_loop.call_soon_threadsafe(self._tell, told, self._batch.size)
        except BaseException:  # a panic of a native library is no Exception
            self._break()
            log.exception("stepping failed")

    def _break(self) -> None:
        with self._changed:
            self._has_failed = True
            self._waiting.clear()
        self._event_loop.call_soon_threadsafe(self._fail_all)

    def _fill(self) -> bool:
        """Who waits gets a place, once there is something to do. False: closed."""
        batch = self._batch
        with self._changed:
            while True:
                batch.leave()
                while self._waiting and batch.has_place:
                    batch.join(self._waiting.popleft())
                if self._is_closed or batch.size:
                    return not self._is_closed
                self._event_loop.call_soon_threadsafe(self._tell, [], 0)
                self._changed.wait()

    def _tell(self, told: Told, running: int) -> None:
        self.running = running
        for generation, news in told:
            if news.end is not None or news.error is not None:
                self._open.discard(generation)
            generation.tell(news)

    def _fail_all(self) -> None:
        error = RequestError(500, "internal error; the server's log says more")
        self._tell([(each, each.fail(error)) for each in self._open], 0)
