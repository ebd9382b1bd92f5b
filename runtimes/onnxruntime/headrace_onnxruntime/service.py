"""The Open Inference Protocol over HTTP: a path and a method become an answer, each failure a JSON error.

aiohttp's low-level server without its router: there is one model, so all paths are known when the model is.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from typing import Any
from urllib.parse import unquote

import orjson
from aiohttp import web

from headrace_onnxruntime import __version__, protocol
from headrace_onnxruntime.bodies import BodyReader, Budget
from headrace_onnxruntime.engine import Array
from headrace_onnxruntime.failures import RequestError
from headrace_onnxruntime.metrics import CONTENT_TYPE, Metrics
from headrace_onnxruntime.model import Model, Rejected
from headrace_onnxruntime.protocol import Answer, InferenceRequest
from headrace_onnxruntime.settings import Settings
from headrace_onnxruntime.tensors import has_nonfinite

log = logging.getLogger("headrace_onnxruntime")

# What takes longer than a millisecond or so is done beside the event loop, which has probes to answer.
LARGE_BODY_BYTES = 128 * 1024
LARGE_OUTPUT_VALUES = 128 * 1024

_JSON = {"Content-Type": "application/json"}
_CODE_OF_LATE_BODY = 408

Handler = Callable[[web.BaseRequest], Awaitable[web.Response]]


class Service:
    """Answers requests for one model, from the first moment; before `serve` with 503.

    `heavy` is an executor of one thread: large bodies are taken apart one at a time, which bounds memory too.
    """

    def __init__(self, settings: Settings, metrics: Metrics, heavy: Executor) -> None:
        self._settings = settings
        self._metrics = metrics
        self._heavy = heavy
        self._bodies = BodyReader(settings.max_body_bytes, settings.max_buffered_bytes)
        self._model: Model | None = None
        self._draining = False
        self._last_request = time.monotonic()
        self._prefix = {"model_name": settings.model_name, "model_version": settings.model_version}
        self._routes = self._all_routes()

    def serve(self, model: Model) -> None:
        """From now on requests are answered with `model`."""
        self._model = model
        self._metrics.ready = not self._draining

    def drain(self) -> None:
        """Not ready any more; requests are still answered, and each answer asks the client to go elsewhere."""
        self._draining = True
        self._metrics.ready = False

    async def quiet(self, quiet_seconds: float, deadline_seconds: float) -> bool:
        """Wait until nothing is in flight and nothing has come for `quiet_seconds`; False at the deadline."""
        deadline = time.monotonic() + deadline_seconds
        while self._metrics.in_flight or time.monotonic() - self._last_request < quiet_seconds:
            if time.monotonic() >= deadline:
                return self._metrics.in_flight == 0
            await asyncio.sleep(0.02)
        return True

    async def handle(self, request: web.BaseRequest) -> web.Response:
        """The protocol's port."""
        path = request.raw_path.partition("?")[0]
        methods = self._routes.get(path) or self._routes.get(unquote(path))
        try:
            if methods is None:
                raise RequestError(404, f"there is nothing at this path; the model is {self._settings.model_name!r}")
            handler = methods.get(request.method)
            if handler is None:
                response = _error(RequestError(405, f"{request.method} is not possible here"))
                response.headers["Allow"] = ", ".join(methods)
            else:
                response = await handler(request)
        except RequestError as error:
            response = _error(error)
        except Exception:
            log.exception("%s %s failed", request.method, path)
            response = _error(RequestError(500, "internal error; the server's log says more"))
        if self._draining or response.status in (408, 413):
            response.force_close()
        return response

    async def handle_metrics(self, request: web.BaseRequest) -> web.Response:
        """The metrics' port."""
        if request.path != "/metrics":
            return _error(RequestError(404, "there is nothing but /metrics here"))
        self._metrics.waiting = self._model.waiting if self._model else 0
        return web.Response(body=self._metrics.render().encode(), headers={"Content-Type": CONTENT_TYPE})

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
        if self._draining:
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
        self._last_request = time.monotonic()
        metrics.in_flight += 1
        try:
            response = await self._admitted(request)
        except RequestError as error:
            metrics.model_rejections += isinstance(error, Rejected)
            metrics.count_request(error.status)
            raise
        except Exception:
            metrics.count_request(500)
            raise
        finally:
            metrics.in_flight -= 1
            self._last_request = time.monotonic()
        metrics.count_request(200)
        return response

    async def _admitted(self, request: web.BaseRequest) -> web.Response:
        model = self._require_model()
        if self._metrics.in_flight > self._settings.max_in_flight:
            raise RequestError(503, f"the server answers {self._settings.max_in_flight} requests already; try again")
        with self._bodies.budget() as budget:
            code = _CODE_OF_LATE_BODY
            try:
                async with asyncio.timeout(self._settings.request_timeout):
                    packed = await self._read(request, budget)
                    started = time.perf_counter()
                    code = 504
                    response = await self._answer(model, request.headers, packed, budget)
            except TimeoutError as error:
                what = "the body did not arrive" if code == _CODE_OF_LATE_BODY else "there was no answer"
                raise RequestError(code, f"{what} within {self._settings.request_timeout:g} s") from error
        self._metrics.request_seconds.observe(time.perf_counter() - started)
        return response

    async def _read(self, request: web.BaseRequest, budget: Budget) -> bytes:
        if request.headers.get("Expect", "").lower() == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            # Not part of the answer: without this aiohttp takes the headers for sent.
            request.writer.output_size = 0
        return await self._bodies.read(request, budget)

    async def _answer(self, model: Model, headers: Mapping[str, str], packed: bytes, budget: Budget) -> web.Response:
        encoding = headers.get("Content-Encoding", "").strip().lower()
        json_length = headers.get(protocol.BINARY_HEADER)

        def parse() -> InferenceRequest:
            body = self._bodies.unpack(packed, encoding, budget)
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
            return web.Response(body=answer.body, headers=_JSON)
        binary = {"Content-Type": "application/octet-stream", protocol.BINARY_HEADER: str(answer.json_length)}
        return web.Response(body=answer.body, headers=binary)

    def _encode(self, model: Model, inference: InferenceRequest, outputs: list[Array]) -> tuple[Answer, bool]:
        nonfinite = any(has_nonfinite(outputs[wanted.index]) for wanted in inference.outputs)
        return protocol.answer(model.signature, self._prefix, inference, outputs), nonfinite


def _get(handler: Handler) -> Mapping[str, Handler]:
    return {"GET": handler, "HEAD": handler}


def _json(value: Any) -> web.Response:
    return web.Response(body=orjson.dumps(value), headers=_JSON)


def _error(error: RequestError) -> web.Response:
    headers = {**_JSON, "Retry-After": "1"} if error.status == 503 else _JSON
    body = orjson.dumps({"error": error.message.encode(errors="replace").decode()})
    return web.Response(status=error.status, body=body, headers=headers)
