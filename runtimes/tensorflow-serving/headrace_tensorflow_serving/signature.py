"""What goes into a model and what comes out: names, types and shapes of each signature."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

from headrace_serving.shapes import DYNAMIC
from headrace_tensorflow_serving.codes import Code
from headrace_tensorflow_serving.failures import CodedError

DEFAULT_SIGNATURE = "serving_default"
MAX_DIMENSIONS = 32

Array = np.ndarray[Any, np.dtype[Any]]


class Family(Enum):
    """How the values of a type are written; OTHER has no form in JSON."""

    FLOAT = "float"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    TEXT = "text"
    OTHER = "other"


@dataclass(frozen=True)
class TensorSpec:
    """One input or output: its name for the client (`name`) and in the graph (`node`), its type in TensorFlow's number
    (`type_number`) and words, and its shape: a dimension of -1 may have any size, and None stands for any shape.
    """

    name: str
    node: str
    type_number: int
    type_name: str
    family: Family
    dtype: np.dtype[Any]
    shape: tuple[int, ...] | None

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Raises CodedError(INVALID_ARGUMENT) when the model cannot take `shape`."""
        own = self.shape
        if len(shape) > MAX_DIMENSIONS:
            raise CodedError(Code.INVALID_ARGUMENT, f"input {self.name!r} has {len(shape)} dimensions")
        if 0 in shape:
            raise CodedError(Code.INVALID_ARGUMENT, f"input {self.name!r} has an empty dimension")
        if own is not None and (
            len(own) != len(shape) or any(free not in (DYNAMIC, size) for free, size in zip(own, shape, strict=True))
        ):
            raise CodedError(
                Code.INVALID_ARGUMENT,
                f"input {self.name!r} has the shape {list(shape)}; the model takes {list(own)}",
            )


@dataclass(frozen=True)
class Signature:
    """`defaults` are values of inputs that a client may leave out."""

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    defaults: dict[str, Array]
