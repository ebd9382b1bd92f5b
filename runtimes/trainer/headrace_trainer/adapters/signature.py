"""The inputs and outputs of a model as clients see them: the content of signature.json."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

# numpy's names of types, and the Open Inference Protocol's.
_DATATYPES = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
    "bfloat16": "BF16",
    "string": "BYTES",
}
_GENERATED_INPUT = re.compile(r"(keras_tensor|input_layer|input|args)(_\d+)*")
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_]+")


@dataclass(frozen=True)
class Tensor:
    """One input or output; None in `shape` is a size that a request is free in. `dtype` is numpy's name."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]

    def described(self) -> dict[str, Any]:
        """The tensor in the protocol's words."""
        shape = [-1 if size is None else size for size in self.shape]
        return {"name": self.name, "datatype": _DATATYPES[self.dtype], "shape": shape}


@dataclass(frozen=True)
class Signature:
    """All inputs and outputs, in the model's order."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    def to_json(self) -> str:
        """The content of signature.json: the same bytes for the same signature."""
        described = {side: [t.described() for t in getattr(self, side)] for side in ("inputs", "outputs")}
        return json.dumps(described, separators=(",", ":"))


def input_names(given: list[str]) -> list[str]:
    """The names that the script gave its inputs; names that Keras made up become input, input_1, ..."""
    return _unique(["input" if _GENERATED_INPUT.fullmatch(name) else name for name in given])


def output_names(given: list[str]) -> list[str]:
    """The names of the output layers."""
    return _unique(given)


def _unique(names: list[str]) -> list[str]:
    result: list[str] = []
    for name in (_NOT_IN_A_NAME.sub("_", name).strip("_") or "tensor" for name in names):
        numbered, count = name, 0
        while numbered in result:
            count += 1
            numbered = f"{name}_{count}"
        result.append(numbered)
    return result
