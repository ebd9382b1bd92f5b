"""Rows of the training data, kept with the model for whoever wants to ask it: MLflow's input example."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

NAME = "input_example.json"
MAX_CHARACTERS = 2**18
_MAX_ROWS = 5

Array = np.ndarray[Any, Any]


def encode(inputs: Mapping[str, Array], *, is_batch_free: bool) -> str | None:
    """A few rows by the names of the inputs, or None where there is none that is small, and that JSON has. All of them
    where the model takes no other number.
    """
    for count in (_MAX_ROWS, 1) if is_batch_free else (None,):
        try:
            rows = {name: _plain(values[:count].tolist()) for name, values in inputs.items()}
            text = json.dumps(rows, separators=(",", ":"), allow_nan=False)
        except (ValueError, TypeError):  # not a number; text that is no UTF-8; a type that only TensorFlow has
            return None
        if len(text) <= MAX_CHARACTERS:
            return text
    return None


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return value.decode() if isinstance(value, bytes) else value
