"""The REST API: a path and a method become an answer, each failure a JSON error.

aiohttp's low-level server without its router: there is one model, and the paths are few.
"""

from __future__ import annotations

import asyncio
import time

from aiohttp import web

from headrace_serving import bodies
from headrace_serving.answers import JSON, answered, path_of
from headrace_serving.bodies import Bounds
from headrace_serving.buffers import Buffers, Share
from headrace_serving.exposition import CONTENT_TYPE
from headrace_serving.failures import IncompleteError, MethodNotAllowedError, RequestError
from headrace_serving.gate import Gate
from headrace_tensorflow_serving import descriptions, paths, rest_predict
from headrace_tensorflow_serving.codes import Code
from headrace_tensorflow_serving.failures import CodedError, OtherModelError, code_of
from headrace_tensorflow_serving.metrics import Api, Metrics
from headrace_tensorflow_serving.model import Answer, Model
from headrace_tensorflow_serving.paths import Resource, Target
from headrace_tensorflow_serving.settings import Settings


class Service:
    """Answers requests for one model, which is loaded and warm."""

    def __init__(self, settings: Settings, model: Model, metrics: Metrics, gate: Gate, buffers: Buffers) -> None:
        self._settings = settings
        self._model = model
        self._metrics = metrics
        self._gate = gate
        self._buffers = buffers
        self._bounds = Bounds(
            settings.max_body_bytes, "--max_body_bytes", settings.rest_timeout_seconds, "--rest_api_timeout_in_ms"
        )
        self._status = descriptions.status_json(descriptions.status(model.version, is_available=True))
        self._metadata = descriptions.metadata_json(
            descriptions.metadata(model.name, model.version, model.signature_defs)
        )

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Any request to the port of the REST API."""
        if path_of(request) == self._settings.metrics_path:
            self._metrics.in_flight = self._gate.in_flight
            self._metrics.buffered_bytes = self._buffers.taken
            return web.Response(body=self._metrics.render().encode(), headers={"Content-Type": CONTENT_TYPE})
        return await answered(request, self._routed, self._gate)

    async def _routed(self, request: web.BaseRequest) -> web.StreamResponse:
        target = paths.parse(path_of(request))
        if target.resource is Resource.STATUS and target.model == self._model.name and self._gate.is_draining:
            # Not counted: it is about the pod, and must not look like a failure of the model.
            raise CodedError(Code.UNAVAILABLE, "the server is about to end")
        try:
            response = await self._counted(request, target)
        except OtherModelError:
            raise
        except IncompleteError:
            self._metrics.incomplete_requests += 1
            raise
        except RequestError as error:
            self._metrics.count(code_of(error))
            raise
        except Exception:  # counted here, logged and answered by who called
            self._metrics.count(Code.INTERNAL)
            raise
        self._metrics.count(Code.OK)
        return response

    async def _counted(self, request: web.BaseRequest, target: Target) -> web.Response:
        self._model.require(target.model, target.version)
        if request.method not in target.resource.methods:
            # The official server says 400.
            raise MethodNotAllowedError(request.method, target.resource.methods)
        if target.resource is Resource.PREDICT:
            return await self._predict(request)
        started = time.perf_counter()
        body = self._status if target.resource is Resource.STATUS else self._metadata
        self._metrics.observe_request(Api.REST_DESCRIBE, time.perf_counter() - started)
        return web.Response(body=body, headers=JSON)

    async def _predict(self, request: web.BaseRequest) -> web.Response:
        seconds = self._settings.rest_timeout_seconds
        with self._buffers.share() as share:
            with self._gate.arrival():
                packed = await bodies.read(request, share, self._bounds)
            started = time.perf_counter()
            deadline = time.monotonic() + seconds
            encoding = bodies.encoding(request)
            with self._gate.admitted():
                try:
                    async with asyncio.timeout(seconds):
                        answer = await self._model.answered(lambda: self._compute(packed, encoding, share, deadline))
                except TimeoutError as error:
                    limit = f"{seconds:g} s; --rest_api_timeout_in_ms raises that"
                    raise CodedError(Code.DEADLINE_EXCEEDED, f"there was no answer within {limit}") from error
        self._metrics.observe_request(Api.REST_PREDICT, time.perf_counter() - started)
        self._metrics.observe_run(answer.run.seconds)
        self._metrics.nonfinite_outputs += not answer.run.is_finite
        return web.Response(body=answer.body, headers=JSON)

    def _compute(self, packed: bytes, encoding: str, share: Share, deadline: float) -> Answer:
        """Everything that takes time, off the event loop, which has probes to answer."""
        body = bodies.unpack(packed, encoding, share, self._bounds)
        prediction = rest_predict.parse(self._model.signatures, body)
        run = self._model.run(prediction.signature, prediction.feed, prediction.signature.outputs, deadline)
        return Answer(rest_predict.answer(prediction, run.outputs), run)
