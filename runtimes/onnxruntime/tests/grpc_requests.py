"""Requests of the Open Inference Protocol over gRPC, made of what the same request over HTTP has."""

from __future__ import annotations

from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2

NO_PROXY = [("grpc.enable_http_proxy", 0)]
INFER = "/inference.GRPCInferenceService/ModelInfer"
CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


def request(*inputs: dict[str, Any], **more: Any) -> service_pb2.ModelInferRequest:
    """An input has name, datatype, shape, and data: a flat list for typed contents, or bytes for raw ones."""
    message = service_pb2.ModelInferRequest(model_name="m", **more)
    for entry in inputs:
        tensor = message.inputs.add(name=entry["name"], datatype=entry["datatype"], shape=entry["shape"])
        if isinstance(entry["data"], bytes):
            message.raw_input_contents.append(entry["data"])
        else:
            field = getattr(tensor.contents, entry.get("field") or CONTENTS[entry["datatype"]])
            field.extend(value.encode() if isinstance(value, str) else value for value in entry["data"])
    return message


def rows(*values: list[float], **more: Any) -> service_pb2.ModelInferRequest:
    """Rows for the model `affine`."""
    data = np.array(values, dtype="<f4").tobytes()
    return request({"name": "x", "datatype": "FP32", "shape": [len(values), len(values[0])], "data": data}, **more)


def outputs_of(response: service_pb2.ModelInferResponse) -> dict[str, tuple[str, list[int], bytes]]:
    """Datatype, shape and raw bytes by name."""
    return {
        output.name: (output.datatype, list(output.shape), raw)
        for output, raw in zip(response.outputs, response.raw_output_contents, strict=True)
    }


def refused(call: Any) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    assert caught.value.details()
    return caught.value
