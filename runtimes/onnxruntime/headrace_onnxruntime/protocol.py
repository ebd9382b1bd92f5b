"""Inferences as bodies of HTTP: the protocol's JSON, with its binary tensor data extension. No I/O here."""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from headrace_onnxruntime import tensors
from headrace_onnxruntime.engine import Array
from headrace_onnxruntime.requests import InferenceRequest, Inputs, WantedOutput, output_named, require_id
from headrace_onnxruntime.signature import Signature
from headrace_serving.failures import RequestError

BINARY_HEADER = "Inference-Header-Content-Length"

# As clients write numbers that JSON does not have, behind a sign.
_NONFINITE = re.compile("nan|inf(inity)?", re.IGNORECASE)


@dataclass(frozen=True)
class Answer:
    """`json_length` is the length of the JSON part where raw bytes follow it, else None."""

    body: bytes
    json_length: int | None


def parse(signature: Signature, body: bytes, json_length: str | None, max_rows: int) -> InferenceRequest:
    """The request in `body`; `json_length` is the value of BINARY_HEADER. Raises RequestError(400)."""
    split = _json_length(json_length, len(body))
    request = _object(_loads(body[:split] if split < len(body) else body), "the body")
    identifier = require_id(request.get("id"))
    parameters = _parameters(request)
    return InferenceRequest(
        id=identifier,
        feed=_inputs(signature, request.get("inputs"), body[split:], max_rows),
        outputs=_outputs(signature, request.get("outputs"), _flag(parameters, "binary_data_output")),
        parameters=parameters,
    )


def answer(signature: Signature, prefix: Mapping[str, Any], request: InferenceRequest, values: list[Array]) -> Answer:
    """The answer's body: `prefix` (model's name and version), id, and the outputs asked for."""
    document: dict[str, Any] = dict(prefix)
    if request.id is not None:
        document["id"] = request.id
    blobs: list[bytes] = []
    outputs: list[dict[str, Any]] = []
    for wanted in request.outputs:
        spec, array = signature.outputs[wanted.index], values[wanted.index]
        output: dict[str, Any] = {"name": spec.name, "datatype": spec.datatype.value, "shape": array.shape}
        if wanted.as_bytes:
            blobs.append(tensors.to_bytes(array))
            output["parameters"] = {"binary_data_size": len(blobs[-1])}
        else:
            output["data"] = tensors.to_json(array)
        outputs.append(output)
    document["outputs"] = outputs
    encoded = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    if not any(wanted.as_bytes for wanted in request.outputs):
        return Answer(body=encoded, json_length=None)
    return Answer(body=b"".join((encoded, *blobs)), json_length=len(encoded))


def _loads(text: bytes) -> Any:
    try:
        # Windows' tools put a byte order mark before UTF-8.
        return orjson.loads(text.removeprefix(codecs.BOM_UTF8))
    except orjson.JSONDecodeError as error:
        if word := _NONFINITE.match(error.doc, error.pos):
            raise RequestError(
                400, f"the body has {word[0]} at line {error.lineno}, which JSON does not have; raw bytes carry it"
            ) from error
        raise RequestError(400, f"the body is not JSON: {error}") from error


def _json_length(header: str | None, body_length: int) -> int:
    if header is None:
        return body_length
    if not (header.isascii() and header.isdecimal() and len(header) < 20) or int(header) > body_length:
        raise RequestError(400, f"{BINARY_HEADER} is no length within the body")
    return int(header)


def _inputs(signature: Signature, entries: Any, blob: bytes, max_rows: int) -> Mapping[str, Array]:
    if not isinstance(entries, list):
        raise RequestError(400, "inputs is not a list")
    inputs = Inputs(signature, max_rows)
    offset = 0
    for value in entries:
        entry = _object(value, "an entry of inputs")
        spec, shape = inputs.declared(entry.get("name"), entry.get("datatype"), entry.get("shape"))
        size = _parameters(entry).get("binary_data_size")
        if size is None:
            inputs.give(spec, tensors.from_json(spec, shape, entry.get("data")))
            continue
        if type(size) is not int or not 0 <= size <= len(blob) - offset or "data" in entry:
            raise tensors.bad(spec, "has no binary_data_size that fits the body, or data beside it")
        inputs.give(spec, tensors.from_bytes(spec, shape, blob[offset : offset + size]))
        offset += size
    if offset != len(blob):
        raise RequestError(400, f"{len(blob) - offset} bytes after the last input")
    return inputs.feed()


def _outputs(signature: Signature, entries: Any, as_bytes: bool) -> tuple[WantedOutput, ...]:
    if entries is None or entries == []:
        return tuple(WantedOutput(index, as_bytes) for index in range(len(signature.outputs)))
    if not isinstance(entries, list):
        raise RequestError(400, "outputs is not a list")
    wanted: dict[int, WantedOutput] = {}
    for value in entries:
        entry = _object(value, "an entry of outputs")
        index = output_named(signature, entry.get("name"), wanted)
        wanted[index] = WantedOutput(index, _flag(_parameters(entry), "binary_data", as_bytes))
    return tuple(wanted.values())


def _flag(parameters: Mapping[str, Any], name: str, default: bool = False) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise RequestError(400, f"the parameter {name} is neither true nor false")
    return value


def _parameters(owner: Mapping[str, Any]) -> Mapping[str, Any]:
    """Absent and null are the same: clients write their unset fields as null."""
    value = owner.get("parameters")
    return {} if value is None else _object(value, "parameters")


def _object(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RequestError(400, f"{name} is not a JSON object")
    return value
