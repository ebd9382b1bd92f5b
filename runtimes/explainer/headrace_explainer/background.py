"""Rows that an explained row is compared with: those of a file, which is written as the inputs of a request, or zeros.

What a feature did is what the answer would be without it, and a model cannot be asked without: the background's values
stand for that. Zeros are right for features that are centred, and a poor guess for others.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from headrace_onnxruntime import protocol
from headrace_onnxruntime.engine import Array
from headrace_onnxruntime.signature import Signature
from headrace_serving.failures import Reason, RequestError, StartError

MAX_ROWS = 256
_HINT = (
    'The file has the inputs of an inference request, {"inputs": [...]}, all with the same number of rows: at most '
    f"{MAX_ROWS}."
)

Rows = Mapping[str, Array]


def read(path: Path, signature: Signature) -> Rows:
    """The rows in a file. Raises StartError(BadConfig)."""
    try:
        body = path.read_bytes()
    except OSError as error:
        message = f"The background {path.name} cannot be read: {error.strerror}."
        hint = "spec.explain.background names a ConfigMap and a key of it: create both in this namespace."
        raise StartError(Reason.BAD_CONFIG, message, hint) from error
    try:
        rows = protocol.parse(signature, body, None, MAX_ROWS).feed
    except RequestError as error:
        raise StartError(Reason.BAD_CONFIG, f"The background {path.name}: {error.message}.", _HINT) from error
    if len({len(values) for values in rows.values()}) != 1:
        message = f"The background {path.name} has inputs with different numbers of rows."
        raise StartError(Reason.BAD_CONFIG, message, _HINT)
    return rows


def zeros_like(rows: Rows) -> Rows:
    """One row of zeros, and of empty texts, of the form that the rows have."""
    return {
        name: np.full_like(values[:1], "") if values.dtype.kind == "O" else np.zeros_like(values[:1])
        for name, values in rows.items()
    }


def require_same_form(background: Rows, rows: Rows) -> None:
    """Raises RequestError(400): a model with free dimensions takes rows that the background does not fit."""
    for name, values in rows.items():
        own = background[name].shape[1:]
        if values.shape[1:] != own:
            raise RequestError(
                400,
                f"input {name!r} has rows of the shape {list(values.shape[1:])}; those of the background, which they "
                f"are compared with, have {list(own)}",
            )
