"""Tensor data in the protocol's typed fields (InferTensorContents) becomes arrays. No I/O here.

The fields are fewer than the datatypes: small integers share one, and FP16 has none, so it comes as raw bytes only.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from headrace_onnxruntime.engine import Array
from headrace_onnxruntime.signature import Datatype, TensorSpec
from headrace_onnxruntime.tensors import as_text, bad

_FIELD_OF = {
    Datatype.BOOL: "bool_contents",
    Datatype.INT8: "int_contents",
    Datatype.INT16: "int_contents",
    Datatype.INT32: "int_contents",
    Datatype.INT64: "int64_contents",
    Datatype.UINT8: "uint_contents",
    Datatype.UINT16: "uint_contents",
    Datatype.UINT32: "uint_contents",
    Datatype.UINT64: "uint64_contents",
    Datatype.FP32: "fp32_contents",
    Datatype.FP64: "fp64_contents",
    Datatype.BYTES: "bytes_contents",
}


def from_contents(spec: TensorSpec, shape: tuple[int, ...], contents: Any) -> Array:
    """The array of `shape`, row by row, in an InferTensorContents. Raises RequestError(400)."""
    own = _FIELD_OF.get(spec.datatype)
    if own is None:
        raise bad(spec, f"is {spec.datatype.value}, which comes in raw_input_contents only")
    for field, _ in contents.ListFields():
        if field.name != own:
            raise bad(spec, f"has {field.name}; {spec.datatype.value} comes in {own}")
    values = getattr(contents, own)
    if len(values) != prod(shape):
        raise bad(spec, f"has {len(values)} values; the shape {list(shape)} needs {prod(shape)}")
    if spec.datatype is Datatype.BYTES:
        return np.array([as_text(spec, value) for value in values], dtype=object).reshape(shape)
    try:
        return np.array(list(values), dtype=spec.datatype.dtype).reshape(shape)
    except OverflowError as error:
        raise bad(spec, f"has a value out of the range of {spec.datatype.value}") from error
