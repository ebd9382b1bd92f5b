"""The Open Inference Protocol over gRPC: a table from method to function; what is in no table is UNIMPLEMENTED."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from grpc_health.v1 import health_pb2
from grpc_health.v1.health import aio as health

from headrace_onnxruntime import PLATFORM, SERVER_NAME, __version__
from headrace_onnxruntime.inferences import LARGE_BODY_BYTES, Arrived, Inferences
from headrace_onnxruntime.requests import InferenceRequest, ModelName
from headrace_onnxruntime.rpc import messages
from headrace_onnxruntime.rpc import open_inference as protocol
from headrace_onnxruntime.settings import Settings
from headrace_onnxruntime.signature import Signature
from headrace_serving import rpc
from headrace_serving.arrivals import Arrivals
from headrace_serving.buffers import Share

# The health check's names: of the server as a whole, and of its one service.
_CHECKED = ("", protocol.SERVICE)


class RpcService:
    """Answers requests for one model, from the first moment."""

    def __init__(self, settings: Settings, inferences: Inferences) -> None:
        self._settings = settings
        self._own = ModelName(settings.model_name, settings.model_version)
        self._inferences = inferences
        self._health = health.HealthServicer()
        self._arrivals = Arrivals(
            max_message_bytes=settings.max_body_bytes,
            max_buffered_bytes=settings.max_buffered_bytes,
            seconds=settings.request_timeout,
            flag="--request-timeout",
        )

    async def listen(self) -> Any:
        """The server, which has begun to take requests. Raises StartError."""
        settings = self._settings
        server = rpc.server(
            max_message_bytes=settings.max_body_bytes,
            grace_seconds=settings.grace_seconds,
            request_seconds=2 * settings.request_timeout,
        )
        server.add_generic_rpc_handlers((self._service(), self._health_service()))
        await self._say(health_pb2.HealthCheckResponse.NOT_SERVING)
        await rpc.start(server, settings.bind, settings.grpc_port, "Choose another --grpc-port.")
        return server

    async def say_ready(self) -> None:
        """To whoever asks or watches the health check."""
        await self._say(health_pb2.HealthCheckResponse.SERVING)

    async def say_unready(self) -> None:
        await self._say(health_pb2.HealthCheckResponse.NOT_SERVING)

    async def _say(self, status: int) -> None:
        for name in _CHECKED:
            await self._health.set(name, status)

    def _service(self) -> Any:
        short = {
            "ServerLive": self._server_live,
            "ServerReady": self._server_ready,
            "ModelReady": self._model_ready,
            "ServerMetadata": self._server_metadata,
            "ModelMetadata": self._model_metadata,
        }
        methods = {name: self._short(method) for name, method in short.items()}
        return rpc.service(protocol.SERVICE, {**methods, "ModelInfer": rpc.arriving(self._infer, rpc.status_of)})

    def _short(self, method: rpc.Method) -> Any:
        return rpc.unary(method, self._arrivals.short_message, rpc.status_of)

    def _health_service(self) -> Any:
        """grpcio-health-checking's methods, whose own registration bounds no message."""
        watch = rpc.watching(self._health_watch, self._arrivals.short_message, rpc.status_of, _encoded)
        short = {"Check": self._short(self._health_check), "List": self._short(self._health_list)}
        return rpc.service(health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, {**short, "Watch": watch})

    async def _health_check(self, message: bytes, context: Any) -> bytes:
        request = messages.decode(health_pb2.HealthCheckRequest, message)
        return _encoded(await self._health.Check(request, context))

    async def _health_list(self, _message: bytes, context: Any) -> bytes:
        requests = {name: health_pb2.HealthCheckRequest(service=name) for name in _CHECKED}
        statuses = {name: await self._health.Check(request, context) for name, request in requests.items()}
        return _encoded(health_pb2.HealthListResponse(statuses=statuses))

    async def _health_watch(self, message: bytes, context: Any) -> None:
        await self._health.Watch(messages.decode(health_pb2.HealthCheckRequest, message), context)

    async def _server_live(self, _message: bytes, _context: Any) -> bytes:
        return _encoded(protocol.ServerLiveResponse(live=True))

    async def _server_ready(self, _message: bytes, _context: Any) -> bytes:
        return _encoded(protocol.ServerReadyResponse(ready=self._inferences.is_ready))

    async def _model_ready(self, message: bytes, _context: Any) -> bytes:
        self._require_own(messages.decode(protocol.ModelReadyRequest, message))
        return _encoded(protocol.ModelReadyResponse(ready=self._inferences.is_ready))

    async def _server_metadata(self, _message: bytes, _context: Any) -> bytes:
        return _encoded(protocol.ServerMetadataResponse(name=SERVER_NAME, version=__version__))

    async def _model_metadata(self, message: bytes, _context: Any) -> bytes:
        self._require_own(messages.decode(protocol.ModelMetadataRequest, message))
        signature = self._inferences.require_model().signature
        return _encoded(
            protocol.ModelMetadataResponse(
                name=self._own.name,
                versions=[self._own.version],
                platform=PLATFORM,
                inputs=[spec.as_json() for spec in signature.inputs],
                outputs=[spec.as_json() for spec in signature.outputs],
            )
        )

    def _require_own(self, request: Any) -> None:
        self._own.require(request.name, request.version)

    async def _infer(self, arriving: AsyncIterator[bytes], _context: Any) -> bytes:
        return await self._inferences.answer(partial(self._arrived, arriving))

    async def _arrived(self, arriving: AsyncIterator[bytes], share: Share) -> Arrived[bytes]:
        message = await self._arrivals.message(arriving)
        share.take(len(message))

        def parse(signature: Signature) -> InferenceRequest:
            return messages.parse(self._own, signature, message, self._settings.max_request_rows)

        return Arrived(len(message) > LARGE_BODY_BYTES, parse, partial(messages.answer, self._own))


def _encoded(message: Any) -> bytes:
    return bytes(message.SerializeToString())
