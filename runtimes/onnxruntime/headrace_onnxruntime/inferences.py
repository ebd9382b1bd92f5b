"""The way of every inference, whatever protocol it came by: bytes, a place, the model, an answer, and the counters.

How the bytes are read and an answer is written is each protocol's own: service.py over HTTP, rpc/service.py over gRPC.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from headrace_onnxruntime.engine import Array, Feed
from headrace_onnxruntime.metrics import Metrics
from headrace_onnxruntime.model import Model, Rejected
from headrace_onnxruntime.requests import InferenceRequest, OtherModelError
from headrace_onnxruntime.settings import Settings
from headrace_onnxruntime.signature import Signature
from headrace_onnxruntime.tensors import has_nonfinite
from headrace_serving.buffers import Buffers, Share
from headrace_serving.failures import CLIENT_CLOSED, IncompleteError, RequestError
from headrace_serving.gate import Gate

# What takes longer than a millisecond or so is done beside the event loop, which has probes to answer.
LARGE_BODY_BYTES = 128 * 1024
LARGE_OUTPUT_VALUES = 128 * 1024

A = TypeVar("A")


@dataclass(frozen=True)
class Arrived(Generic[A]):
    """An inference whose bytes are all there. `parse` and `encode` may be called in another thread."""

    is_large: bool
    parse: Callable[[Signature], InferenceRequest]
    encode: Callable[[Signature, InferenceRequest, list[Array]], A]


class Inferences:
    """All of it is used on the event loop; before `serve` there is no model, and an inference is a 503."""

    def __init__(self, settings: Settings, metrics: Metrics, gate: Gate) -> None:
        self._timeout = settings.request_timeout
        self._max_wait = settings.max_wait
        self._metrics = metrics
        self._gate = gate
        self._buffers = Buffers(settings.max_buffered_bytes)
        # Of one thread: large bodies are taken apart one at a time, which bounds memory too.
        self._heavy = ThreadPoolExecutor(max_workers=1, thread_name_prefix="heavy")
        self._model: Model | None = None

    def serve(self, model: Model) -> None:
        """From now on requests are answered with `model`."""
        self._model = model

    def close(self) -> None:
        self._heavy.shutdown(wait=False, cancel_futures=True)

    @property
    def is_ready(self) -> bool:
        return self._model is not None and not self._gate.is_draining

    def require_ready(self) -> None:
        """Raises RequestError(503)."""
        if self._gate.is_draining:
            raise RequestError(503, "the server is about to end")
        self.require_model()

    def require_model(self) -> Model:
        """Raises RequestError(503)."""
        if self._model is None:
            raise RequestError(503, "the model is being loaded")
        return self._model

    def metrics_text(self) -> str:
        metrics = self._metrics
        metrics.in_flight = self._gate.in_flight
        metrics.buffered_bytes = self._buffers.taken
        metrics.waiting = self._model.waiting if self._model else 0
        metrics.ready = self.is_ready
        return metrics.render()

    async def answer(self, arrive: Callable[[Share], Awaitable[Arrived[A]]]) -> A:
        """The answer to what `arrive` waits for, counted. Raises RequestError; once cancelled it is not computed."""
        metrics = self._metrics
        try:
            answer = await self._admitted(self.require_model(), arrive)
        except IncompleteError:
            metrics.incomplete_requests += 1
            raise
        except OtherModelError:
            raise
        except RequestError as error:
            metrics.model_rejections += isinstance(error, Rejected)
            metrics.count_request(error.status)
            raise
        except Exception:  # counted here, logged and answered by who called
            metrics.count_request(500)
            raise
        metrics.count_request(200)
        return answer

    async def _admitted(self, model: Model, arrive: Callable[[Share], Awaitable[Arrived[A]]]) -> A:
        with self._buffers.share() as share:
            try:
                with self._gate.arrival():
                    arrived = await arrive(share)
            except asyncio.CancelledError:
                self._metrics.incomplete_requests += 1
                raise
            started = time.perf_counter()
            with self._gate.admitted():
                try:
                    async with asyncio.timeout(self._timeout):
                        answer = await self._computed(model, arrived)
                except TimeoutError as error:
                    limit = f"{self._timeout:g} s; --request-timeout raises that"
                    raise RequestError(504, f"there was no answer within {limit}") from error
                except asyncio.CancelledError:
                    self._metrics.count_request(CLIENT_CLOSED)
                    raise
        self._metrics.request_seconds.observe(time.perf_counter() - started)
        return answer

    def _require_time(self, model: Model, feed: Feed) -> None:
        """Raises RequestError(429): a client that is told at once goes elsewhere, or comes back when there is time."""
        wait = model.wait_seconds(feed)
        if wait > self._max_wait:
            late = math.ceil(wait - self._max_wait)
            message = f"{model.waiting} requests wait, for some {wait:.1f} s; --max-wait allows {self._max_wait:g} s"
            raise RequestError(429, message, retry_seconds=late)

    async def _computed(self, model: Model, arrived: Arrived[A]) -> A:
        signature = model.signature
        loop = asyncio.get_running_loop()
        if arrived.is_large:
            request = await loop.run_in_executor(self._heavy, arrived.parse, signature)
        else:
            request = arrived.parse(signature)
        self._require_time(model, request.feed)
        outputs = await model.infer(request.feed)

        def encoded() -> tuple[A, bool]:
            nonfinite = any(has_nonfinite(outputs[wanted.index]) for wanted in request.outputs)
            return arrived.encode(signature, request, outputs), nonfinite

        if sum(array.size for array in outputs) > LARGE_OUTPUT_VALUES:
            answer, nonfinite = await loop.run_in_executor(self._heavy, encoded)
        else:
            answer, nonfinite = encoded()
        self._metrics.nonfinite_outputs += nonfinite
        return answer
