"""Computes requests together: whatever waits when the engine becomes free goes in one run. Nobody waits for company.

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


@dataclass(frozen=True)
class BatchRun:
    """What one call of the engine took, for the metrics."""

    rows: int
    seconds: float


@dataclass(frozen=True)
class _Waiting:
    feed: Feed
    rows: int
    future: asyncio.Future[list[Array]]


class Batcher:
    """`max_rows` 1 turns putting together off. `observe` is called on the loop after each run."""

    def __init__(
        self,
        engine: Engine,
        *,
        executor: Executor,
        workers: int,
        max_rows: int,
        observe: Callable[[BatchRun], None],
    ) -> None:
        self._engine = engine
        self._executor = executor
        self._free_workers = workers
        self._max_rows = max_rows
        self._observe = observe
        self._loop = asyncio.get_running_loop()
        self._queues: OrderedDict[Hashable, deque[_Waiting]] = OrderedDict()

    @property
    def waiting(self) -> int:
        return sum(len(queue) for queue in self._queues.values())

    async def infer(self, feed: Feed) -> list[Array]:
        """The model's outputs for `feed`. Raises EngineError. Cancelled while it waits, it is not computed at all."""
        future: asyncio.Future[list[Array]] = self._loop.create_future()
        rows = _common_rows(feed) if self._max_rows > 1 else None
        # One that is computed alone has a queue of its own, and so its turn among the kinds.
        key: Hashable = object() if rows is None else _shapes(feed)
        self._queues.setdefault(key, deque()).append(_Waiting(feed, rows or 1, future))
        self._start_runs()
        return await future

    def _start_runs(self) -> None:
        while self._free_workers and (batch := self._take()):
            self._free_workers -= 1
            run = self._loop.run_in_executor(self._executor, _compute, self._engine, batch)
            run.add_done_callback(lambda done, batch=batch: self._finish(batch, done))  # type: ignore[misc]

    def _take(self) -> list[_Waiting]:
        """The next batch: of the kind of request that has waited for its turn the longest."""
        while self._queues:
            key, queue = next(iter(self._queues.items()))
            batch: list[_Waiting] = []
            rows = 0
            while queue and (not batch or rows + queue[0].rows <= self._max_rows):
                waiting = queue.popleft()
                if not waiting.future.done():
                    batch.append(waiting)
                    rows += waiting.rows
            if queue:
                self._queues.move_to_end(key)
            else:
                del self._queues[key]
            if batch:
                return batch
        return []

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
                self._observe(run)
            for waiting, outcome in zip(batch, outcomes, strict=True):
                if waiting.future.done():
                    continue
                if isinstance(outcome, EngineError):
                    waiting.future.set_exception(outcome)
                else:
                    waiting.future.set_result(outcome)
        self._start_runs()


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
