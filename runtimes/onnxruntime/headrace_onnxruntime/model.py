"""A model that can be asked: engine, batching, and the judgement of who is to blame when an answer fails."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor

from headrace_onnxruntime import engine as engines
from headrace_onnxruntime.batching import Batcher, BatchRun
from headrace_onnxruntime.engine import Array, Engine, EngineError, Feed
from headrace_onnxruntime.settings import Settings
from headrace_onnxruntime.signature import Signature
from headrace_onnxruntime.warmup import WarmUp, warm_up
from headrace_serving.failures import RequestError

log = logging.getLogger("headrace_onnxruntime")


class Rejected(RequestError):
    """The request fits the signature, the model is sound, and yet it cannot compute this request."""

    def __init__(self, error: EngineError) -> None:
        super().__init__(400, f"the model cannot compute this request: {error}")


class Model:
    """Create with `load`."""

    def __init__(self, engine: Engine, warm: WarmUp, batcher: Batcher, executor: Executor) -> None:
        self._engine = engine
        self._known_good = warm.known_good
        self._batcher = batcher
        self._executor = executor

    @property
    def signature(self) -> Signature:
        return self._engine.signature

    @property
    def waiting(self) -> int:
        return self._batcher.waiting

    def wait_seconds(self, feed: Feed) -> float:
        """How long a request that comes now will wait for those before it."""
        return self._batcher.wait_seconds(feed)

    async def infer(self, feed: Feed) -> list[Array]:
        """All outputs. Raises Rejected when the request is to blame, RequestError(500) when the model is.

        ONNX Runtime does not tell a token outside the vocabulary from a broken kernel. The model does: while it still
        answers the input that it was warmed up with, it is the request that it cannot compute. Where there is none, the
        first one that it answers will do.
        """
        try:
            outputs = await self._batcher.infer(feed)
        except EngineError as error:
            if await self._is_sound():
                raise Rejected(error) from error
            log.error("the model fails: %s", error)
            raise RequestError(500, f"the model fails: {error}") from error
        if self._known_good is None:
            self._known_good = feed
        return outputs

    async def _is_sound(self) -> bool:
        if self._known_good is None:
            return False
        try:
            await asyncio.get_running_loop().run_in_executor(self._executor, self._engine.run, self._known_good)
        except EngineError:
            return False
        return True


async def load(settings: Settings, observe: Callable[[BatchRun], None]) -> Model:
    """The model of the settings, loaded and warmed up off the event loop. Raises StartError."""
    executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="inference")
    loop = asyncio.get_running_loop()
    engine = await loop.run_in_executor(executor, engines.load, settings.model_dir, settings.threads)
    warm = await loop.run_in_executor(executor, warm_up, engine)
    max_rows = settings.max_batch if warm.rows_are_independent else 1
    batcher = Batcher(
        engine, executor=executor, workers=1, max_rows=max_rows, observe=observe, max_delay=settings.max_delay
    )
    log.info("model loaded; %s", f"up to {max_rows} rows in one run" if max_rows > 1 else "one request at a time")
    return Model(engine, warm, batcher, executor)
