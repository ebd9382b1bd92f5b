"""Requests for explanations and their answers, as bodies of the Open Inference Protocol. No I/O here.

A request is one for an inference (its inputs), with what is to be explained in its parameters. The path is KServe's,
whose explainers leave the form of the answer open: here the attributions are tensors of their inputs' own shapes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from headrace_explain.kind import Explanation
from headrace_explainer.settings import METHODS
from headrace_onnxruntime import protocol
from headrace_onnxruntime.engine import Array
from headrace_onnxruntime.signature import Datatype, Signature
from headrace_serving.failures import RequestError, shortened

_PARAMETERS = ("method", "output", "target", "budget")


@dataclass(frozen=True)
class Question:
    """What a request wants to know. `output` and `target` are None where the model's own answer is to be explained: its
    first output of broken numbers, and of each row the class that has the highest value.
    """

    id: str | None
    rows: Mapping[str, Array]
    method: str
    output: str | None
    target: int | None
    budget: int


@dataclass(frozen=True)
class Defaults:
    """Of requests that do not say; `max_budget` is also the most that one may ask for."""

    method: str
    max_budget: int
    max_rows: int


def parse(signature: Signature, body: bytes, json_length: str | None, defaults: Defaults) -> Question:
    """The question in `body`; `json_length` is the value of the binary extension's header. Raises RequestError(400)."""
    request = protocol.parse(signature, body, json_length, defaults.max_rows)
    _rows(request.feed, defaults.max_rows)
    parameters = {name: value for name, value in request.parameters.items() if value is not None}
    for name in parameters:
        if name not in _PARAMETERS:
            known = ", ".join(_PARAMETERS)
            raise RequestError(400, f"there is no parameter {shortened(repr(name), 40)}; there are {known}")
    output = _output(signature, parameters.get("output"))
    return Question(
        id=request.id,
        rows=request.feed,
        method=_method(parameters.get("method", defaults.method)),
        output=output,
        target=_whole(parameters, "target", 0, None),
        budget=_whole(parameters, "budget", 1, defaults.max_budget) or defaults.max_budget,
    )


def answer(prefix: Mapping[str, Any], question: Question, explanation: Explanation) -> bytes:
    """The answer's body. What is of a row is a list with an entry for each row."""
    document: dict[str, Any] = dict(prefix)
    if question.id is not None:
        document["id"] = question.id
    document["explanations"] = [
        {"name": name, "datatype": Datatype.FP32.value, "shape": values.shape, "data": _flat(values)}
        for name, values in explanation.attributions.items()
    ]
    gap = None if explanation.gap is None else _flat(explanation.gap)
    document["parameters"] = {
        "method": str(explanation.method),
        "output": explanation.output,
        "target": _per_row(explanation.target),
        "prediction": _flat(explanation.prediction),
        "base": _flat(explanation.base),
        "gap": gap,
        "background": explanation.background,
        "evaluations": explanation.evaluations,
        "complete": explanation.complete,
    }
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


def _rows(feed: Mapping[str, Array], max_rows: int) -> None:
    counts = {name: len(values) for name, values in feed.items()}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{name!r} has {count}" for name, count in counts.items())
        raise RequestError(400, f"the inputs differ in their numbers of rows: {told}")
    if max(counts.values()) > max_rows:  # of a model that takes one number of rows and no other
        raise RequestError(400, f"the request has {max(counts.values())} rows; at most {max_rows} are explained in one")


def _method(value: Any) -> str:
    if value not in METHODS:
        told = shortened(repr(value), 40)
        raise RequestError(400, f"there is no method {told}; there are {', '.join(METHODS)}")
    return str(value)


def _output(signature: Signature, value: Any) -> str | None:
    if value is None:
        return None
    names = [spec.name for spec in signature.outputs]
    if value not in names:
        told = shortened(repr(value), 40)
        raise RequestError(400, f"the model has no output {told}; it has {', '.join(map(repr, names))}")
    return str(value)


def _whole(parameters: Mapping[str, Any], name: str, least: int, most: int | None) -> int | None:
    value = parameters.get(name)
    if value is None:
        return None
    if type(value) is not int or value < least or (most is not None and value > most):
        bounds = f"of at least {least}" if most is None else f"between {least} and {most}"
        raise RequestError(400, f"the parameter {name} is no whole number {bounds}")
    return value


def _flat(values: Array) -> Array:
    return np.ascontiguousarray(values, dtype=np.float32).reshape(-1)


def _per_row(values: Array) -> Array:
    return np.ascontiguousarray(values, dtype=np.int64).reshape(-1)
