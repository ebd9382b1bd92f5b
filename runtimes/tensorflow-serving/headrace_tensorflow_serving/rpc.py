"""The gRPC API: PredictionService and ModelService of TensorFlow Serving, and gRPC's own health check.

A table from method to function for each service; what is in no table is UNIMPLEMENTED. Messages come and go as bytes,
so that predictions are taken apart and put together off the event loop.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import grpc

from headrace_serving import rpc
from headrace_serving.arrivals import Arrivals
from headrace_serving.buffers import Buffers
from headrace_serving.failures import RequestError
from headrace_serving.gate import Gate
from headrace_tensorflow_serving import descriptions, protos
from headrace_tensorflow_serving.codes import Code
from headrace_tensorflow_serving.failures import CodedError, OtherModelError, code_of
from headrace_tensorflow_serving.metrics import Api, Metrics
from headrace_tensorflow_serving.model import Answer, Model
from headrace_tensorflow_serving.settings import Settings
from headrace_tensorflow_serving.tensorflow_parts import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    predict_pb2,
)

# A client that gives up does so a moment before its deadline comes here.
_DEADLINE_MARGIN_SECONDS = 0.1

# grpc.health.v1.HealthCheckResponse, encoded: its one field is an enum.
_SERVING, _NOT_SERVING = b"\x08\x01", b"\x08\x02"


class RpcService:
    """Answers requests for one model, which is loaded and warm."""

    def __init__(self, settings: Settings, model: Model, metrics: Metrics, gate: Gate, buffers: Buffers) -> None:
        self._settings = settings
        self._model = model
        self._metrics = metrics
        self._gate = gate
        self._buffers = buffers
        self._arrivals = Arrivals(
            max_message_bytes=settings.max_body_bytes,
            max_buffered_bytes=settings.max_buffered_bytes,
            seconds=settings.rest_timeout_seconds,
            flag="--rest_api_timeout_in_ms",
        )

    def handlers(self) -> tuple[Any, ...]:
        """What grpc.aio's server takes."""
        predict = rpc.unary(self._predict, self._arrivals.message, _status_of)
        return (
            rpc.service(
                "tensorflow.serving.PredictionService",
                {"Predict": predict, "GetModelMetadata": self._short(self._model_metadata)},
            ),
            rpc.service("tensorflow.serving.ModelService", {"GetModelStatus": self._short(self._model_status)}),
            rpc.service("grpc.health.v1.Health", {"Check": self._short(self._health)}),
        )

    def _short(self, method: rpc.Method) -> Any:
        return rpc.unary(method, self._arrivals.short_message, _status_of)

    async def _predict(self, message: bytes, context: Any) -> bytes:
        started = time.perf_counter()
        try:
            answer = await self._admitted(message, context.time_remaining())
        except OtherModelError:
            raise
        except RequestError as error:
            self._metrics.count(code_of(error))
            raise
        except asyncio.CancelledError:
            remaining = context.time_remaining()
            is_late = remaining is not None and remaining < _DEADLINE_MARGIN_SECONDS
            self._metrics.count(Code.DEADLINE_EXCEEDED if is_late else Code.CANCELLED)
            raise
        except Exception:  # counted here, logged and answered by who called
            self._metrics.count(Code.INTERNAL)
            raise
        self._metrics.count(Code.OK)
        self._metrics.observe_request(Api.GRPC_PREDICT, time.perf_counter() - started)
        self._metrics.observe_run(answer.run.seconds)
        self._metrics.nonfinite_outputs += not answer.run.is_finite
        return answer.body

    async def _admitted(self, message: bytes, seconds: float | None) -> Answer:
        deadline = None if seconds is None else time.monotonic() + seconds
        with self._gate.admitted(), self._buffers.share() as share:
            share.take(len(message))
            return await self._model.answered(lambda: self._compute(message, deadline))

    def _compute(self, message: bytes, deadline: float | None) -> Answer:
        request = protos.decode(predict_pb2.PredictRequest, message)
        self._require(request)
        prediction = protos.parse(self._model.signatures, request, self._settings.max_body_bytes)
        run = self._model.run(prediction.signature, prediction.feed, prediction.outputs, deadline)
        return Answer(protos.answer(prediction, run.outputs, self._model.name, self._model.version), run)

    async def _model_metadata(self, message: bytes, _context: Any) -> bytes:
        request = protos.decode(get_model_metadata_pb2.GetModelMetadataRequest, message)
        fields = list(request.metadata_field)
        if not fields:
            raise _bad("GetModelMetadataRequest must specify at least one metadata_field")
        for field in fields:
            if field != descriptions.SIGNATURE_DEF:
                raise _bad(f"Metadata field {field} is not supported")
        self._require(request)
        response = descriptions.metadata(self._model.name, self._model.version, self._model.signature_defs)
        return bytes(response.SerializeToString())

    async def _model_status(self, message: bytes, _context: Any) -> bytes:
        self._require(protos.decode(get_model_status_pb2.GetModelStatusRequest, message))
        response = descriptions.status(self._model.version, is_available=not self._gate.is_draining)
        return bytes(response.SerializeToString())

    async def _health(self, _message: bytes, _context: Any) -> bytes:
        return _NOT_SERVING if self._gate.is_draining else _SERVING

    def _require(self, request: Any) -> None:
        if not request.HasField("model_spec"):
            raise _bad("Missing ModelSpec")
        spec = request.model_spec
        if not spec.name:
            raise _bad("ModelSpec has no name specified.")
        if spec.version_label:
            raise _bad("versions have no labels here: ask for a number, or for the latest")
        self._model.require(spec.name, spec.version.value if spec.HasField("version") else None)


async def listen(service: RpcService, settings: Settings) -> Any:
    """The server, which has begun to take requests. Raises StartError."""
    server = rpc.server(max_message_bytes=settings.max_body_bytes, grace_seconds=settings.grace_seconds)
    server.add_generic_rpc_handlers(service.handlers())
    await rpc.start(server, settings.bind, settings.port, "Choose another --port.")
    return server


def _status_of(error: RequestError) -> grpc.StatusCode:
    return grpc.StatusCode[error.code.name] if isinstance(error, CodedError) else rpc.status_of(error)


def _bad(message: str) -> CodedError:
    return CodedError(Code.INVALID_ARGUMENT, message)
