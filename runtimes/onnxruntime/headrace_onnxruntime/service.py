"""The Open Inference Protocol over HTTP: a path and a method become an answer, each failure a JSON error.

aiohttp's low-level server without its router: there is one model, so all paths are known when the model is.
"""

from __future__ import annotations

from functools import partial

from aiohttp import web

from headrace_onnxruntime import PLATFORM, SERVER_NAME, __version__, protocol
from headrace_onnxruntime.engine import Array
from headrace_onnxruntime.inferences import LARGE_BODY_BYTES, Arrived, Inferences
from headrace_onnxruntime.protocol import Answer
from headrace_onnxruntime.requests import InferenceRequest
from headrace_onnxruntime.settings import Settings
from headrace_onnxruntime.signature import Signature
from headrace_serving import bodies
from headrace_serving.answers import JSON, answered
from headrace_serving.bodies import Bounds
from headrace_serving.buffers import Share
from headrace_serving.gate import Gate
from headrace_serving.open_inference import OpenInference, Tensors
from headrace_serving.routes import Routes, metrics_answer, routed


class Service:
    """Answers requests for one model, from the first moment."""

    def __init__(self, settings: Settings, inferences: Inferences, gate: Gate) -> None:
        self._settings = settings
        self._inferences = inferences
        self._gate = gate
        self._bounds = Bounds(
            settings.max_body_bytes, "--max-body-bytes", settings.request_timeout, "--request-timeout"
        )
        self._prefix = {"model_name": settings.model_name, "model_version": settings.model_version}
        self._routes = self._all_routes()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """The protocol's port."""
        return await answered(request, self._routed, self._gate)

    async def handle_metrics(self, request: web.BaseRequest) -> web.Response:
        """The metrics' port."""
        return metrics_answer(request, self._inferences.metrics_text)

    async def _routed(self, request: web.BaseRequest) -> web.StreamResponse:
        return await routed(request, self._routes, f"the model is {self._settings.model_name!r}")

    def _all_routes(self) -> Routes:
        about = OpenInference(
            server=SERVER_NAME,
            server_version=__version__,
            extension="binary_tensor_data",
            model=self._settings.model_name,
            model_version=self._settings.model_version,
            platform=PLATFORM,
            tensors=self._tensors,
            require_ready=self._inferences.require_ready,
        )
        return about.routes() | {f"{base}/infer": {"POST": self._infer} for base in about.models()}

    def _tensors(self) -> tuple[Tensors, Tensors]:
        signature = self._inferences.require_model().signature
        return [spec.as_json() for spec in signature.inputs], [spec.as_json() for spec in signature.outputs]

    async def _infer(self, request: web.BaseRequest) -> web.Response:
        answer = await self._inferences.answer(partial(self._arrived, request))
        if answer.json_length is None:
            return web.Response(body=answer.body, headers=JSON)
        binary = {"Content-Type": "application/octet-stream", protocol.BINARY_HEADER: str(answer.json_length)}
        return web.Response(body=answer.body, headers=binary)

    async def _arrived(self, request: web.BaseRequest, share: Share) -> Arrived[Answer]:
        packed = await bodies.read(request, share, self._bounds)
        encoding = bodies.encoding(request)
        json_length = request.headers.get(protocol.BINARY_HEADER)

        def parse(signature: Signature) -> InferenceRequest:
            body = bodies.unpack(packed, encoding, share, self._bounds)
            return protocol.parse(signature, body, json_length, self._settings.max_request_rows)

        return Arrived(bool(encoding) or len(packed) > LARGE_BODY_BYTES, parse, self._encode)

    def _encode(self, signature: Signature, inference: InferenceRequest, outputs: list[Array]) -> Answer:
        return protocol.answer(signature, self._prefix, inference, outputs)
