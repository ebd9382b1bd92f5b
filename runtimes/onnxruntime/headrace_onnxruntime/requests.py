"""What an inference asks for, whatever protocol it came by, judged by the model's signature. No I/O here."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from headrace_onnxruntime import tensors
from headrace_onnxruntime.engine import Array
from headrace_onnxruntime.signature import Signature, TensorSpec
from headrace_serving.failures import RequestError, shortened

MAX_ID_CHARACTERS = 1024


class OtherModelError(RequestError):
    """The request is for a model that is not served here, and so counts for none."""

    def __init__(self, message: str) -> None:
        super().__init__(404, message)


class ModelName(NamedTuple):
    """Of the one model that is served here, as clients call it."""

    name: str
    version: str

    def require(self, name: str, version: str) -> None:
        """An empty version is any. Raises OtherModelError."""
        if name != self.name:
            raise OtherModelError(f"there is no model {_told(name)}; the model is {self.name!r}")
        if version not in ("", self.version):
            raise OtherModelError(f"the model has no version {_told(version)}; it has {self.version!r}")


@dataclass(frozen=True)
class WantedOutput:
    """An output to answer with: its place in the model's signature, and whether as raw bytes."""

    index: int
    as_bytes: bool


@dataclass(frozen=True)
class InferenceRequest:
    id: str | None
    feed: Mapping[str, Array]
    outputs: tuple[WantedOutput, ...]
    parameters: Mapping[str, Any]


class Inputs:
    """Collects the inputs of one request, each `declared` and then given; a request has at most `max_rows`."""

    def __init__(self, signature: Signature, max_rows: int) -> None:
        self._specs = {spec.name: spec for spec in signature.inputs}
        self._max_rows = max_rows
        self._feed: dict[str, Array] = {}

    def declared(self, name: Any, datatype: Any, shape: Any) -> tuple[TensorSpec, tuple[int, ...]]:
        """The input of that name, and its shape. Raises RequestError(400) where the model does not have it so."""
        spec = self._specs.get(name) if isinstance(name, str) else None
        if spec is None:
            raise RequestError(400, f"the model has no input {_told(name)}; it has {', '.join(map(repr, self._specs))}")
        if spec.name in self._feed:
            raise RequestError(400, f"input {spec.name!r} is given twice")
        if datatype != spec.datatype.value:
            raise RequestError(400, f"input {spec.name!r} must have the datatype {spec.datatype.value}")
        checked = tensors.check_shape(spec, shape)
        if spec.has_free_rows and checked[0] > self._max_rows:
            raise RequestError(
                400, f"input {spec.name!r} has {checked[0]} rows; at most {self._max_rows} fit in one request"
            )
        return spec, checked

    def give(self, spec: TensorSpec, values: Array) -> None:
        self._feed[spec.name] = values

    def feed(self) -> Mapping[str, Array]:
        """All of them. Raises RequestError(400) where one is missing."""
        missing = [name for name in self._specs if name not in self._feed]
        if missing:
            raise RequestError(400, f"input {missing[0]!r} is missing")
        return self._feed


def output_named(signature: Signature, name: Any, wanted: Container[int]) -> int:
    """The place of that output, which is not yet `wanted`. Raises RequestError(400)."""
    names = [spec.name for spec in signature.outputs]
    if not isinstance(name, str) or name not in names:
        raise RequestError(400, f"the model has no output {_told(name)}; it has {', '.join(map(repr, names))}")
    if (index := names.index(name)) in wanted:
        raise RequestError(400, f"output {name!r} is asked for twice")
    return index


def require_id(value: Any) -> str | None:
    """The request's own name for itself. Raises RequestError(400)."""
    if value is not None and (not isinstance(value, str) or len(value) > MAX_ID_CHARACTERS):
        raise RequestError(400, f"id is not a text of at most {MAX_ID_CHARACTERS} characters")
    return value


def _told(name: Any) -> str:
    return shortened(repr(name), 40)
