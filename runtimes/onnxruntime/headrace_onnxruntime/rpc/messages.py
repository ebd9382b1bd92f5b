"""Inferences as messages: a ModelInferRequest becomes arrays, arrays become a ModelInferResponse. No I/O here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from google.protobuf.message import DecodeError

from headrace_onnxruntime import tensors
from headrace_onnxruntime.engine import Array
from headrace_onnxruntime.requests import (
    InferenceRequest,
    Inputs,
    ModelName,
    WantedOutput,
    output_named,
    require_id,
)
from headrace_onnxruntime.rpc.contents import from_contents
from headrace_onnxruntime.rpc.open_inference import ModelInferRequest, ModelInferResponse
from headrace_onnxruntime.signature import Signature
from headrace_serving.failures import RequestError


def decode(kind: Any, message: bytes) -> Any:
    """The message of type `kind`. Raises RequestError(400)."""
    try:
        return kind.FromString(message)
    except DecodeError as error:
        raise RequestError(400, f"the message is no {kind.DESCRIPTOR.name}") from error


def parse(own: ModelName, signature: Signature, message: bytes, max_rows: int) -> InferenceRequest:
    """The request in a ModelInferRequest to the model `own`. Raises OtherModelError, RequestError(400)."""
    request = decode(ModelInferRequest, message)
    own.require(request.model_name, request.model_version)
    # What is not set and what is empty are the same in a message.
    identifier = require_id(request.id or None)
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise RequestError(400, f"raw_input_contents has {len(raw)} entries for {len(request.inputs)} inputs")
    inputs = Inputs(signature, max_rows)
    for index, tensor in enumerate(request.inputs):
        spec, shape = inputs.declared(tensor.name, tensor.datatype, list(tensor.shape))
        if not raw:
            inputs.give(spec, from_contents(spec, shape, tensor.contents))
        elif tensor.contents.ListFields():
            raise tensors.bad(spec, "has contents beside raw_input_contents")
        else:
            inputs.give(spec, tensors.from_bytes(spec, shape, raw[index]))
    return InferenceRequest(
        id=identifier, feed=inputs.feed(), outputs=_outputs(signature, request.outputs), parameters={}
    )


def answer(own: ModelName, signature: Signature, request: InferenceRequest, values: list[Array]) -> bytes:
    """The ModelInferResponse, encoded, with raw contents: typed ones are of no use to FP16, and slow for all others."""
    response = ModelInferResponse(model_name=own.name, model_version=own.version, id=request.id or "")
    for wanted in request.outputs:
        spec, array = signature.outputs[wanted.index], values[wanted.index]
        response.outputs.add(name=spec.name, datatype=spec.datatype.value, shape=array.shape)
        response.raw_output_contents.append(tensors.to_bytes(array))
    return bytes(response.SerializeToString())


def _outputs(signature: Signature, entries: Sequence[Any]) -> tuple[WantedOutput, ...]:
    if not entries:
        return tuple(WantedOutput(index, as_bytes=True) for index in range(len(signature.outputs)))
    wanted: dict[int, WantedOutput] = {}
    for entry in entries:
        index = output_named(signature, entry.name, wanted)
        wanted[index] = WantedOutput(index, as_bytes=True)
    return tuple(wanted.values())
