"""Predictions of the gRPC API: messages of tensorflow.serving become arrays, arrays become messages. No I/O here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from google.protobuf.message import DecodeError

from headrace_serving.failures import shortened
from headrace_tensorflow_serving.codes import Code
from headrace_tensorflow_serving.failures import CodedError
from headrace_tensorflow_serving.signature import DEFAULT_SIGNATURE, Array, Signature, TensorSpec
from headrace_tensorflow_serving.tensorflow_parts import (
    MakeNdarray,
    make_tensor_proto,
    predict_pb2,
    tensor_pb2,
    types_pb2,
)

# Clients read these fields, as the official server fills them, and not tensor_content.
_FIELDS = {
    types_pb2.DT_FLOAT: "float_val",
    types_pb2.DT_DOUBLE: "double_val",
    types_pb2.DT_INT8: "int_val",
    types_pb2.DT_INT16: "int_val",
    types_pb2.DT_INT32: "int_val",
    types_pb2.DT_UINT8: "int_val",
    types_pb2.DT_UINT16: "int_val",
    types_pb2.DT_INT64: "int64_val",
    types_pb2.DT_UINT32: "uint32_val",
    types_pb2.DT_UINT64: "uint64_val",
    types_pb2.DT_BOOL: "bool_val",
    types_pb2.DT_STRING: "string_val",
}


@dataclass(frozen=True)
class Prediction:
    """What is asked for: `outputs` is the output filter, or all of them."""

    signature: Signature
    outputs: Sequence[TensorSpec]
    feed: Mapping[str, Array]


def decode(kind: Any, message: bytes) -> Any:
    """The message of type `kind`. Raises CodedError(INVALID_ARGUMENT)."""
    try:
        return kind.FromString(message)
    except DecodeError as error:
        raise CodedError(Code.INVALID_ARGUMENT, f"the message is no {kind.DESCRIPTOR.name}") from error


def parse(signatures: Mapping[str, Signature], request: Any, max_values: int) -> Prediction:
    """The prediction in a PredictRequest; `max_values` bounds each tensor, whose message may be small and it large.

    Raises CodedError(INVALID_ARGUMENT, FAILED_PRECONDITION).
    """
    name = request.model_spec.signature_name or DEFAULT_SIGNATURE
    signature = signatures.get(name)
    if signature is None:
        raise CodedError(
            Code.FAILED_PRECONDITION,
            f'Serving signature key "{shortened(name, 100)}" not found. The model has {", ".join(signatures)}.',
        )
    given = dict(request.inputs)
    extra = sorted(set(given) - {spec.name for spec in signature.inputs})
    missing = [spec.name for spec in signature.inputs if spec.name not in given and spec.name not in signature.defaults]
    if extra or missing:
        raise _bad(
            "input size does not match signature. "
            f"Sent extra: {{{','.join(extra)}}}. Missing but required: {{{','.join(missing)}}}."
        )
    feed = {
        spec.name: from_proto(spec, given[spec.name], max_values)
        if spec.name in given
        else signature.defaults[spec.name]
        for spec in signature.inputs
    }
    return Prediction(signature=signature, outputs=_outputs(signature, list(request.output_filter)), feed=feed)


def answer(prediction: Prediction, values: Sequence[Array], model_name: str, version: int) -> bytes:
    """The PredictResponse, encoded."""
    response = predict_pb2.PredictResponse()
    response.model_spec.name = model_name
    response.model_spec.signature_name = prediction.signature.name
    response.model_spec.version.value = version
    for spec, array in zip(prediction.outputs, values, strict=True):
        response.outputs[spec.name].CopyFrom(to_proto(spec, array))
    encoded: bytes = response.SerializeToString()
    return encoded


def from_proto(spec: TensorSpec, proto: Any, max_values: int) -> Array:
    """The array in a TensorProto. Raises CodedError(INVALID_ARGUMENT)."""
    if proto.dtype != spec.type_number:
        raise _bad(f"input {spec.name!r} must be of type {spec.type_name}")
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    if proto.tensor_shape.unknown_rank or any(size < 0 for size in shape) or prod(shape) > max_values:
        raise _bad(f"input {spec.name!r} has no shape of at most {max_values} values")
    spec.check_shape(shape)
    try:
        array: Array = MakeNdarray(proto)
    except (ValueError, TypeError) as error:
        raise _bad(f"tensor parsing error: {spec.name}") from error
    return array


def to_proto(spec: TensorSpec, array: Array) -> Any:
    field = _FIELDS.get(spec.type_number)
    if field is None:
        return make_tensor_proto(array, dtype=spec.type_number, shape=array.shape)
    proto = tensor_pb2.TensorProto(dtype=spec.type_number)
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    getattr(proto, field).extend(array.ravel().tolist())
    return proto


def _outputs(signature: Signature, wanted: Sequence[str]) -> Sequence[TensorSpec]:
    if not wanted:
        return signature.outputs
    specs = {spec.name: spec for spec in signature.outputs}
    for name in wanted:
        if name not in specs:
            raise _bad(
                f"output tensor alias not found in signature: {name} "
                f"Outputs expected to be in the set {{{','.join(specs)}}}."
            )
    if len(set(wanted)) != len(wanted):
        raise _bad(f"duplicate output tensor alias: {max(wanted, key=list(wanted).count)}")
    return tuple(specs[name] for name in wanted)


def _bad(message: str) -> CodedError:
    return CodedError(Code.INVALID_ARGUMENT, message)
