"""The models of this process, and what they are made of."""

from __future__ import annotations

import gc
from collections.abc import Iterable
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


def variables_in(model: Any) -> list[Any]:
    """None of one that is half made: it is neither trained nor exported."""
    return _of(model, "variables")


def trainable_of(model: Any) -> list[Any]:
    """The same of those that are trained."""
    return _of(model, "trainable_variables")


def owners(variables: Iterable[Any]) -> list[Any]:
    """The models that own these variables: of those that have them in common the largest."""
    wanted = {id(variable) for variable in variables}
    if not wanted:
        return []
    parts = [(model, {id(variable) for variable in trainable_of(model)}) for model in alive()]
    found = [(model, part) for model, part in parts if part & wanted]
    inner = {id(layer) for owner, _ in found for layer in layers_of(owner)}
    return [
        owner
        for owner, part in found
        if id(owner) not in inner and not any(part < other for another, other in found if another is not owner)
    ]


def _of(model: Any, name: str) -> list[Any]:
    try:
        return list(getattr(model, name))
    except Exception:  # noqa: BLE001 - what a class of the script's raises that is not built yet
        return []
