"""Computes requests together: whatever waits when the engine becomes free goes in one run. Nobody waits for company,
unless a delay says how long.

All state belongs to the event loop; only the computation itself runs in worker threads. Requests are put together along
the first dimension when all else about their inputs is equal, and only where all inputs of a request have as many
rows: what a model makes of others (it may stretch one, or refuse) does not say where a neighbour's rows are. A run that
fails is done again request by request, so that nobody gets the error of a neighbour.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np

from headrace_onnxruntime.engine import Array, Engine, EngineError, Feed

Outcome = list[Array] | EngineError

# How much of the newest run is in the pace: of the last twenty or so.
NEWEST = 0.1


@dataclass(frozen=True)
class BatchRun:
    """What one call of the engine took, for the metrics."""

    rows: int
    seconds: float


@dataclass
class _Waiting:
    feed: Feed
    rows: int
    future: asyncio.Future[list[Array]]
    due: float  # by the loop's clock: it waits for company until then
    waits: bool = True


class _Queue:
    """Requests of one kind, the oldest first, and the rows of those that are still waited for."""

    def __init__(self) -> None:
        self._requests: deque[_Waiting] = deque()
        self.rows = 0

    def __len__(self) -> int:
        return len(self._requests)

    @property
    def due(self) -> float:
        return self._requests[0].due

    def add(self, request: _Waiting) -> None:
        self._requests.append(request)
        self.rows += request.rows

    def leave(self, request: _Waiting) -> None:
        """It is computed, or its client has gone; a second time changes nothing."""
        if request.waits:
            request.waits = False
            self.rows -= request.rows

    def take(self, max_rows: int) -> list[_Waiting]:
        """The oldest that fit together, one at least, without those that nobody waits for."""
        batch: list[_Waiting] = []
        rows = 0
        while self._requests and (not batch or rows + self._requests[0].rows <= max_rows):
            request = self._requests.popleft()
            self.leave(request)
            if not request.future.done():
                batch.append(request)
                rows += request.rows
        return batch


class Batcher:
    """`max_rows` 1 turns putting together off. A request waits at most `max_delay` seconds for others to be computed
    with, while the engine is free. `observe` is called on the loop after each run.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        executor: Executor,
        workers: int,
        max_rows: int,
        observe: Callable[[BatchRun], None],
        max_delay: float = 0.0,
    ) -> None:
        self._engine = engine
        self._executor = executor
        self._free_workers = workers
        self._max_rows = max_rows
        self._max_delay = max_delay
        self._observe = observe
        self._loop = asyncio.get_running_loop()
        self._queues: OrderedDict[Hashable, _Queue] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None
        self._seconds_a_row = 0.0

    @property
    def waiting(self) -> int:
        return sum(len(queue) for queue in self._queues.values())

    def wait_seconds(self, feed: Feed) -> float:
        """How long `feed` would wait for those before it, at the pace of the last runs; 0 where nothing waits.

        The kinds take turns: of each other one as many batches come first as its own kind needs.
        """
        if not self._queues:
            return 0.0
        key, rows = self._kind(feed)
        own = self._queues.get(key)
        before = own.rows if own is not None else 0
        turns = (before + (rows or 1) - 1) // self._max_rows + 1
        others = sum(min(queue.rows, turns * self._max_rows) for queue in self._queues.values() if queue is not own)
        return (before + others) * self._seconds_a_row

    async def infer(self, feed: Feed) -> list[Array]:
        """The model's outputs for `feed`. Raises EngineError. Cancelled while it waits, it is not computed at all."""
        key, rows = self._kind(feed)
        due = self._loop.time() + (self._max_delay if rows is not None else 0.0)
        request = _Waiting(feed, rows or 1, self._loop.create_future(), due)
        queue = self._queues.setdefault(key, _Queue())
        queue.add(request)
        self._start_runs()
        try:
            return await request.future
        finally:
            queue.leave(request)

    def _kind(self, feed: Feed) -> tuple[Hashable, int | None]:
        """What its requests are put together by, and its rows. One that is computed alone is a kind of its own."""
        rows = _common_rows(feed) if self._max_rows > 1 else None
        return (object() if rows is None else _shapes(feed)), rows

    def _start_runs(self) -> None:
        while self._free_workers and (batch := self._take()):
            self._free_workers -= 1
            run = self._loop.run_in_executor(self._executor, _compute, self._engine, batch)
            run.add_done_callback(lambda done, batch=batch: self._finish(batch, done))  # type: ignore[misc]
        if self._free_workers and self._queues and self._timer is None:
            due = min(queue.due for queue in self._queues.values())
            self._timer = self._loop.call_at(due, self._when_due)

    def _when_due(self) -> None:
        self._timer = None
        self._start_runs()

    def _take(self) -> list[_Waiting]:
        """The next batch: of the kind of request that has waited for its turn the longest, and waits no longer."""
        while (key := next((key for key, queue in self._queues.items() if self._is_due(queue)), None)) is not None:
            queue = self._queues[key]
            batch = queue.take(self._max_rows)
            if queue:
                self._queues.move_to_end(key)
            else:
                del self._queues[key]
            if batch:
                return batch
        return []

    def _is_due(self, queue: _Queue) -> bool:
        return not self._max_delay or queue.rows >= self._max_rows or queue.due <= self._loop.time()

    def _finish(self, batch: Sequence[_Waiting], done: asyncio.Future[tuple[list[Outcome], list[BatchRun]]]) -> None:
        self._free_workers += 1
        error = done.exception()
        if error is not None:
            for waiting in batch:
                if not waiting.future.done():
                    waiting.future.set_exception(error)
        else:
            outcomes, runs = done.result()
            for run in runs:
                self._note_pace(run)
                self._observe(run)
            for waiting, outcome in zip(batch, outcomes, strict=True):
                if waiting.future.done():
                    continue
                if isinstance(outcome, EngineError):
                    waiting.future.set_exception(outcome)
                else:
                    waiting.future.set_result(outcome)
        self._start_runs()

    def _note_pace(self, run: BatchRun) -> None:
        pace = run.seconds / run.rows
        known = self._seconds_a_row
        self._seconds_a_row = pace if not known else (1 - NEWEST) * known + NEWEST * pace


def _shapes(feed: Feed) -> Hashable:
    """Of each input but for its rows; by name, as they are joined: clients send inputs in any order."""
    return tuple(sorted((name, array.shape[1:]) for name, array in feed.items()))


def _common_rows(feed: Feed) -> int | None:
    """How many rows every input has; None when they differ."""
    numbers = {len(array) for array in feed.values()}
    return numbers.pop() if len(numbers) == 1 else None


def _compute(engine: Engine, batch: Sequence[_Waiting]) -> tuple[list[Outcome], list[BatchRun]]:
    """One outcome for each request of the batch. Runs in a worker thread."""
    if len(batch) > 1:
        started = time.perf_counter()
        try:
            outputs = engine.run(
                {name: np.concatenate([waiting.feed[name] for waiting in batch]) for name in batch[0].feed}
            )
        except EngineError:
            pass  # One of them is bad: each alone will show which.
        else:
            rows = sum(waiting.rows for waiting in batch)
            if all(output.ndim > 0 and len(output) == rows for output in outputs):
                return _split(batch, outputs), [BatchRun(rows, time.perf_counter() - started)]
    outcomes: list[Outcome] = []
    runs = []
    for waiting in batch:
        started = time.perf_counter()
        try:
            outcomes.append(engine.run(waiting.feed))
        except EngineError as error:
            outcomes.append(error)
        runs.append(BatchRun(waiting.rows, time.perf_counter() - started))
    return outcomes, runs


def _split(batch: Sequence[_Waiting], outputs: Sequence[Array]) -> list[Outcome]:
    outcomes: list[Outcome] = []
    start = 0
    for waiting in batch:
        end = start + waiting.rows
        outcomes.append([output[start:end] for output in outputs])
        start = end
    return outcomes
