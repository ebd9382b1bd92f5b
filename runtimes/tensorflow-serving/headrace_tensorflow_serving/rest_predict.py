"""Predictions of the REST API: a JSON body in row or column form becomes arrays, arrays become a body. No I/O here.

The rules are those of the official server's util/json_tensor.cc.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from math import isinf
from typing import Any

import orjson

from headrace_serving.failures import shortened
from headrace_tensorflow_serving import tensors
from headrace_tensorflow_serving.codes import Code
from headrace_tensorflow_serving.failures import CodedError
from headrace_tensorflow_serving.signature import DEFAULT_SIGNATURE, Array, Signature, TensorSpec

# JSON has no such numbers; the official server reads and writes them all the same.
_NONFINITE_LITERALS = (b"NaN", b"Infinity")


class Form(Enum):
    """The key of the request, and with it that of the answer."""

    ROW = "instances"
    COLUMN = "inputs"

    @property
    def answer_key(self) -> str:
        return "predictions" if self is Form.ROW else "outputs"


@dataclass(frozen=True)
class Prediction:
    """What is asked for."""

    signature: Signature
    form: Form
    feed: Mapping[str, Array]


def parse(signatures: Mapping[str, Signature], body: bytes) -> Prediction:
    """The request in `body`. Raises CodedError(INVALID_ARGUMENT)."""
    document = _loads(body)
    if not isinstance(document, dict):
        raise _bad("the body is not a JSON object")
    signature = _signature(signatures, document.get("signature_name", ""))
    forms = [form for form in Form if form.value in document]
    if len(forms) != 1:
        raise _bad("the body must have either 'instances' or 'inputs'")
    (form,) = forms
    read = _columns_of_rows if form is Form.ROW else _columns
    columns = read(signature, document[form.value])
    feed = {spec.name: tensors.from_json(spec, columns[spec.name]) for spec in signature.inputs}
    return Prediction(signature=signature, form=form, feed=feed)


def answer(prediction: Prediction, outputs: Sequence[Array]) -> bytes:
    """The body for the values of all outputs, in the order of the signature. Raises CodedError(INVALID_ARGUMENT)."""
    specs = prediction.signature.outputs
    if prediction.form is Form.ROW:
        _check_rows(specs, outputs)
    values = [tensors.to_json(spec, array) for spec, array in zip(specs, outputs, strict=True)]
    names = [spec.name for spec in specs]
    content: Any
    if len(specs) == 1:
        (content,) = values
    elif prediction.form is Form.ROW:
        content = [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]
    else:
        content = dict(zip(names, values, strict=True))
    document = {prediction.form.answer_key: content}
    if any(map(tensors.has_nonfinite, specs, outputs)):
        return json.dumps(tensors.exact(document), separators=(",", ":"), ensure_ascii=False).encode()
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


def _loads(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if any(literal in body for literal in _NONFINITE_LITERALS):
            try:
                # As text: bytes might be of any encoding here.
                return json.loads(body.decode(), parse_float=_finite)
            except (ValueError, RecursionError):
                pass  # What orjson says about it is as good.
        raise _bad(f"the body is not JSON: {error}") from error


def _finite(text: str) -> float:
    """As orjson has it: what is written as a number is one."""
    number = float(text)
    if isinf(number):
        raise ValueError(f"{text} is out of range")
    return number


def _signature(signatures: Mapping[str, Signature], name: Any) -> Signature:
    if not isinstance(name, str):
        raise _bad("'signature_name' key must be a string value")
    name = name or DEFAULT_SIGNATURE
    if name not in signatures:
        raise _bad(
            f'Serving signature name: "{shortened(name, 100)}" not found in signature def; '
            f"the model has {', '.join(signatures)}"
        )
    return signatures[name]


def _columns_of_rows(signature: Signature, rows: Any) -> Mapping[str, Any]:
    """For each input its values in all rows. A row is an object of all inputs, or the only input's bare value."""
    if not isinstance(rows, list) or not rows:
        raise _bad("'instances' is not a list of at least one")
    names = [spec.name for spec in signature.inputs]
    if not _is_object(rows[0]):
        if len(names) > 1:
            raise _bad(f"'instances' must be a list of objects: the model has the inputs {', '.join(names)}")
        if any(map(_is_object, rows)):
            raise _bad("'instances' has objects beside bare values")
        return {names[0]: rows}
    wanted = set(names)
    for number, row in enumerate(rows):
        if not _is_object(row):
            raise _bad(f"'instances' has a bare value beside objects: element {number}")
        if set(row) != wanted:
            unknown = sorted(set(row) - wanted)
            problem = f"has {shortened(repr(unknown[0]), 40)}, which is no input" if unknown else "lacks an input"
            raise _bad(f"element {number} of 'instances' {problem}: it must have exactly {', '.join(names)}")
    return {name: [row[name] for row in rows] for name in names}


def _columns(signature: Signature, value: Any) -> Mapping[str, Any]:
    """`value` is an object of all inputs, or the only input's bare value. Others than the inputs are left alone."""
    names = [spec.name for spec in signature.inputs]
    if not _is_object(value):
        if len(names) > 1:
            raise _bad(f"'inputs' must be an object: the model has the inputs {', '.join(names)}")
        return {names[0]: value}
    missing = [name for name in names if name not in value]
    if missing:
        raise _bad(f"Missing named input: {missing[0]} in 'inputs' object")
    return {name: value[name] for name in names}


def _check_rows(specs: Sequence[TensorSpec], outputs: Sequence[Array]) -> None:
    """Rows can be told apart only where all outputs have as many."""
    for spec, array in zip(specs, outputs, strict=True):
        if array.ndim == 0 or len(array) != len(outputs[0]):
            raise _bad(
                f"output {spec.name!r} has the shape {list(array.shape)}, which is not one row for each of the others: "
                "ask with 'inputs' instead of 'instances'"
            )


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and not tensors.is_base64(value)


def _bad(message: str) -> CodedError:
    return CodedError(Code.INVALID_ARGUMENT, message)
