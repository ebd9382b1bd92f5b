"""The models of this process, and what they are made of."""

from __future__ import annotations

import gc
from typing import Any

import keras


def alive() -> list[Any]:
    """All models of this process."""
    gc.collect()
    return [thing for thing in gc.get_objects() if issubclass(type(thing), keras.Model)]


def layers_of(model: Any) -> list[Any]:
    """A Sequential has a functional model of its own beside its layers, which nobody means."""
    functional = getattr(model, "_functional", None)
    return [*model._flatten_layers(include_self=False), *([] if functional is None else [functional])]


def trainable_of(model: Any) -> list[Any]:
    try:
        return list(model.trainable_variables)
    except Exception:  # noqa: BLE001 - one that is half made; it cannot be exported either
        return []
