"""What goes into a model and what comes out: names, datatypes and shapes, in the protocol's terms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from headrace_common.formats import SIGNATURE
from headrace_serving.failures import Reason, StartError
from headrace_serving.shapes import DYNAMIC, has_free_rows


class Datatype(Enum):
    """The protocol's name of each element type that can be served."""

    BOOL = "BOOL"
    UINT8 = "UINT8"
    UINT16 = "UINT16"
    UINT32 = "UINT32"
    UINT64 = "UINT64"
    INT8 = "INT8"
    INT16 = "INT16"
    INT32 = "INT32"
    INT64 = "INT64"
    FP16 = "FP16"
    FP32 = "FP32"
    FP64 = "FP64"
    BYTES = "BYTES"

    @property
    def dtype(self) -> np.dtype[Any]:
        return _DTYPES[self]

    @property
    def is_float(self) -> bool:
        return self.dtype.kind == "f"


_DTYPES: dict[Datatype, np.dtype[Any]] = {
    Datatype.BOOL: np.dtype(np.bool_),
    Datatype.UINT8: np.dtype(np.uint8),
    Datatype.UINT16: np.dtype(np.uint16),
    Datatype.UINT32: np.dtype(np.uint32),
    Datatype.UINT64: np.dtype(np.uint64),
    Datatype.INT8: np.dtype(np.int8),
    Datatype.INT16: np.dtype(np.int16),
    Datatype.INT32: np.dtype(np.int32),
    Datatype.INT64: np.dtype(np.int64),
    Datatype.FP16: np.dtype(np.float16),
    Datatype.FP32: np.dtype(np.float32),
    Datatype.FP64: np.dtype(np.float64),
    Datatype.BYTES: np.dtype(object),
}


@dataclass(frozen=True)
class TensorSpec:
    """One input or output; a dimension of -1 may have any size."""

    name: str
    datatype: Datatype
    shape: tuple[int, ...]

    @property
    def has_free_rows(self) -> bool:
        return has_free_rows(self.shape)

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, "datatype": self.datatype.value, "shape": list(self.shape)}


@dataclass(frozen=True)
class Signature:
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


def refine(model: Signature, path: Path) -> Signature:
    """The model's own signature, with the fixed dimensions that `path` (signature.json, may be absent) adds to it.

    Raises StartError(SignatureMismatch) when the file describes another model.
    """
    if not path.is_file():
        return model
    try:
        declared = orjson.loads(path.read_bytes())
        return Signature(
            inputs=_refine(model.inputs, declared["inputs"], "input"),
            outputs=_refine(model.outputs, declared["outputs"], "output"),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise StartError(
            Reason.SIGNATURE_MISMATCH,
            f"{SIGNATURE} does not describe this model: {error}.",
            "Export the model again: signature.json and model.onnx must come from one export.",
        ) from error


def _refine(own: Sequence[TensorSpec], declared: Any, kind: str) -> tuple[TensorSpec, ...]:
    by_name = {entry["name"]: entry for entry in declared}
    unknown = sorted(set(by_name) - {spec.name for spec in own})
    if unknown:
        raise ValueError(f"the model has no {kind} {unknown[0]!r}")
    return tuple(_refine_one(spec, by_name[spec.name], kind) if spec.name in by_name else spec for spec in own)


def _refine_one(own: TensorSpec, declared: dict[str, Any], kind: str) -> TensorSpec:
    if declared["datatype"] != own.datatype.value:
        raise ValueError(f"{own.name!r} is {own.datatype.value}, not {declared['datatype']}")
    shape = tuple(int(size) for size in declared["shape"])
    if kind == "output" and not own.shape:
        # No dimensions is also what ONNX Runtime says where the file's own shape is not what the operations give.
        return own
    if len(shape) != len(own.shape):
        raise ValueError(f"{own.name!r} has {len(own.shape)} dimensions, not {len(shape)}")
    if any(DYNAMIC not in (ours, theirs) and ours != theirs for ours, theirs in zip(own.shape, shape, strict=True)):
        raise ValueError(f"{own.name!r} has the shape {list(own.shape)}, not {list(shape)}")
    return TensorSpec(own.name, own.datatype, tuple(max(sizes) for sizes in zip(own.shape, shape, strict=True)))
