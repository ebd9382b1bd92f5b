"""The Open Inference Protocol over HTTP: a path and a method become an answer, each failure a JSON error.

aiohttp's low-level server without its router: there is one model, so all paths are known when the model is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from concurrent.futures import Executor
from typing import Any
from urllib.parse import unquote

import orjson
from aiohttp import web

from headrace_onnxruntime import __version__, protocol
from headrace_onnxruntime.engine import Array
from headrace_onnxruntime.metrics import Metrics
from headrace_onnxruntime.model import Model, Rejected
from headrace_onnxruntime.protocol import Answer, InferenceRequest
from headrace_onnxruntime.settings import Settings
from headrace_onnxruntime.tensors import has_nonfinite
from headrace_serving import bodies
from headrace_serving.answers import JSON, Handler, answered, error_answer, path_of
from headrace_serving.bodies import Bounds
from headrace_serving.buffers import Buffers, Share
from headrace_serving.exposition import CONTENT_TYPE
from headrace_serving.failures import IncompleteError, MethodNotAllowedError, RequestError
from headrace_serving.gate import Gate

# What takes longer than a millisecond or so is done beside the event loop, which has probes to answer.
LARGE_BODY_BYTES = 128 * 1024
LARGE_OUTPUT_VALUES = 128 * 1024


class Service:
    """Answers requests for one model, from the first moment; before `serve` with 503.

    `heavy` is an executor of one thread: large bodies are taken apart one at a time, which bounds memory too.
    """

    def __init__(self, settings: Settings, metrics: Metrics, gate: Gate, heavy: Executor) -> None:
        self._settings = settings
        self._metrics = metrics
        self._gate = gate
        self._heavy = heavy
        self._buffers = Buffers(settings.max_buffered_bytes)
        self._bounds = Bounds(
            settings.max_body_bytes, "--max-body-bytes", settings.request_timeout, "--request-timeout"
        )
        self._model: Model | None = None
        self._prefix = {"model_name": settings.model_name, "model_version": settings.model_version}
        self._routes = self._all_routes()

    def serve(self, model: Model) -> None:
        """From now on requests are answered with `model`."""
        self._model = model

    async def handle(self, request: web.BaseRequest) -> web.Response:
        """The protocol's port."""
        return await answered(request, self._routed, self._gate)

    async def handle_metrics(self, request: web.BaseRequest) -> web.Response:
        """The metrics' port."""
        if request.path != "/metrics":
            return error_answer(RequestError(404, "there is nothing but /metrics here"))
        metrics = self._metrics
        metrics.in_flight = self._gate.in_flight
        metrics.buffered_bytes = self._buffers.taken
        metrics.waiting = self._model.waiting if self._model else 0
        metrics.ready = self._model is not None and not self._gate.is_draining
        return web.Response(body=metrics.render().encode(), headers={"Content-Type": CONTENT_TYPE})

    async def _routed(self, request: web.BaseRequest) -> web.Response:
        path = path_of(request)
        methods = self._routes.get(path) or self._routes.get(unquote(path))
        if methods is None:
            raise RequestError(404, f"there is nothing at this path; the model is {self._settings.model_name!r}")
        handler = methods.get(request.method)
        if handler is None:
            raise MethodNotAllowedError(request.method, methods)
        return await handler(request)

    def _all_routes(self) -> Mapping[str, Mapping[str, Handler]]:
        model = f"/v2/models/{self._settings.model_name}"
        routes: dict[str, Mapping[str, Handler]] = {
            "/v2": _get(self._server_metadata),
            "/v2/health/live": _get(self._live),
            "/v2/health/ready": _get(self._ready),
        }
        for base in (model, f"{model}/versions/{self._settings.model_version}"):
            routes[base] = _get(self._model_metadata)
            routes[f"{base}/ready"] = _get(self._model_ready)
            routes[f"{base}/infer"] = {"POST": self._infer}
        return routes

    async def _server_metadata(self, _request: web.BaseRequest) -> web.Response:
        return _json(
            {"name": "headrace-onnxruntime", "version": __version__, "extensions": ["binary_tensor_data"]},
        )

    async def _live(self, _request: web.BaseRequest) -> web.Response:
        return _json({"live": True})

    async def _ready(self, _request: web.BaseRequest) -> web.Response:
        self._require_ready()
        return _json({"ready": True})

    async def _model_ready(self, _request: web.BaseRequest) -> web.Response:
        self._require_ready()
        return _json({"name": self._settings.model_name, "ready": True})

    def _require_ready(self) -> None:
        if self._gate.is_draining:
            raise RequestError(503, "the server is about to end")
        self._require_model()

    async def _model_metadata(self, _request: web.BaseRequest) -> web.Response:
        signature = self._require_model().signature
        return _json(
            {
                "name": self._settings.model_name,
                "versions": [self._settings.model_version],
                "platform": "onnx_onnxv1",
                "inputs": [spec.as_json() for spec in signature.inputs],
                "outputs": [spec.as_json() for spec in signature.outputs],
            }
        )

    def _require_model(self) -> Model:
        if self._model is None:
            raise RequestError(503, "the model is being loaded")
        return self._model

    async def _infer(self, request: web.BaseRequest) -> web.Response:
        metrics = self._metrics
        try:
            response = await self._admitted(self._require_model(), request)
        except IncompleteError:
            metrics.incomplete_requests += 1
            raise
        except RequestError as error:
            metrics.model_rejections += isinstance(error, Rejected)
            metrics.count_request(error.status)
            raise
        except Exception:  # counted here, logged and answered by who called
            metrics.count_request(500)
            raise
        metrics.count_request(200)
        return response

    async def _admitted(self, model: Model, request: web.BaseRequest) -> web.Response:
        with self._buffers.share() as share:
            with self._gate.arrival():
                packed = await bodies.read(request, share, self._bounds)
            started = time.perf_counter()
            with self._gate.admitted():
                try:
                    async with asyncio.timeout(self._settings.request_timeout):
                        response = await self._answer(model, request, packed, share)
                except TimeoutError as error:
                    limit = f"{self._settings.request_timeout:g} s; --request-timeout raises that"
                    raise RequestError(504, f"there was no answer within {limit}") from error
        self._metrics.request_seconds.observe(time.perf_counter() - started)
        return response

    async def _answer(self, model: Model, request: web.BaseRequest, packed: bytes, share: Share) -> web.Response:
        encoding = bodies.encoding(request)
        json_length = request.headers.get(protocol.BINARY_HEADER)

        def parse() -> InferenceRequest:
            body = bodies.unpack(packed, encoding, share, self._bounds)
            return protocol.parse(model.signature, body, json_length, self._settings.max_request_rows)

        loop = asyncio.get_running_loop()
        is_large = bool(encoding) or len(packed) > LARGE_BODY_BYTES
        inference = await loop.run_in_executor(self._heavy, parse) if is_large else parse()
        outputs = await model.infer(inference.feed)
        if sum(array.size for array in outputs) > LARGE_OUTPUT_VALUES:
            answer, nonfinite = await loop.run_in_executor(self._heavy, self._encode, model, inference, outputs)
        else:
            answer, nonfinite = self._encode(model, inference, outputs)
        self._metrics.nonfinite_outputs += nonfinite
        if answer.json_length is None:
            return web.Response(body=answer.body, headers=JSON)
        binary = {"Content-Type": "application/octet-stream", protocol.BINARY_HEADER: str(answer.json_length)}
        return web.Response(body=answer.body, headers=binary)

    def _encode(self, model: Model, inference: InferenceRequest, outputs: list[Array]) -> tuple[Answer, bool]:
        nonfinite = any(has_nonfinite(outputs[wanted.index]) for wanted in inference.outputs)
        return protocol.answer(model.signature, self._prefix, inference, outputs), nonfinite


def _get(handler: Handler) -> Mapping[str, Handler]:
    return {"GET": handler, "HEAD": handler}


def _json(value: Any) -> web.Response:
    return web.Response(body=orjson.dumps(value), headers=JSON)
