"""What a loop of the script's own trains: the optimizers that it uses, the models that own what they are applied to,
and variables that no model owns. By their names they are found again in the next attempt, where these things have been
made and nothing has been trained yet.

Held weakly: what the script has let go of is not in its state any more.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import keras
from keras.src.optimizers.base_optimizer import BaseOptimizer

from headrace_trainer.adapters.checkpoint import Checkpoint, CheckpointError
from headrace_trainer.adapters.keras import models as keras_models
from headrace_trainer.adapters.keras import state as keras_state

LOOP = "loop"  # of a snapshot's, or a finished fit's state, where it is a loop


@dataclass(frozen=True)
class Earlier:
    """How an earlier attempt left a loop: in its middle, or, where a fit came after it, at its end."""

    index: int
    step: int
    is_finished: bool
    state: dict[str, Any]
    arrays: Mapping[str, Any]
    replay: dict[int, dict[str, float]]


def earlier(checkpoint: Checkpoint | None, first: int) -> Earlier | None:
    """The next loop in a checkpoint, from the fit `first` on."""
    if checkpoint is None:
        return None
    for index, fit in enumerate(checkpoint.finished):
        if index >= first and LOOP in fit.state:
            return Earlier(index, fit.state["steps"], True, fit.state, fit.arrays, {})
    snapshot = checkpoint.snapshot
    if snapshot.position.fit >= first and LOOP in snapshot.state:
        position = snapshot.position
        return Earlier(position.fit, position.step, False, snapshot.state, snapshot.arrays, dict(snapshot.replay))
    return None


@dataclass
class LoopState:
    """In the order in which the loop came to use them."""

    _optimizers: list[weakref.ref[Any]] = field(default_factory=list)
    _models: list[weakref.ref[Any]] = field(default_factory=list)
    _loose: list[Any] = field(default_factory=list)

    @property
    def optimizers(self) -> list[Any]:
        return _alive(self._optimizers)

    @property
    def models(self) -> list[Any]:
        return _alive(self._models)

    def knows(self, optimizer: Any) -> bool:
        return any(known() is optimizer for known in self._optimizers)

    def add(self, optimizer: Any, models: Iterable[Any], variables: Iterable[Any]) -> None:
        """An optimizer, with the models whose variables it is applied to."""
        self._optimizers.append(weakref.ref(optimizer))
        for model in models:
            if not any(known is model for known in self.models):
                self._models.append(weakref.ref(model))
        owned = {id(_value(variable)) for model in self.models for variable in model.variables}
        owned |= {id(_value(variable)) for variable in self._loose}
        self._loose += [variable for variable in variables if id(_value(variable)) not in owned]

    def variables(self) -> list[Any]:
        """All that is to be kept."""
        return _variables(self.models, self.optimizers, self._loose)

    def described(self) -> dict[str, Any]:
        """As JSON: what `put_back` finds it by."""
        return {
            "models": [model.name for model in self.models],
            "optimizers": [
                {"name": one.name, "variables": [_path(variable) for variable in one._trainable_variables]}
                for one in self.optimizers
            ],
            "loose": len(self._loose),
            "shapes": _shapes(self.variables()),
        }

    def put_back(self, before: Earlier) -> list[Any] | None:
        """Loads what an earlier attempt kept, once all that it is of has been made; the models, or None where
        something is not there yet.
        """
        wanted = before.state[LOOP]
        models = _by_name(keras_models.alive(), wanted["models"])
        optimizers = _by_name(_optimizers(), [one["name"] for one in wanted["optimizers"]])
        if models is None or optimizers is None or len(self._loose) != wanted["loose"]:
            return None
        known = {_path(variable): variable for model in models for variable in model.trainable_variables}
        for optimizer, described in zip(optimizers, wanted["optimizers"], strict=True):
            if not optimizer.built:
                if not known.keys() >= set(described["variables"]):
                    return None
                optimizer.build([known[path] for path in described["variables"]])
                optimizer.built = True
        targets = _variables(models, optimizers, self._loose)
        if _shapes(targets) != wanted["shapes"]:
            return None
        try:
            keras_state.load(targets, before.arrays)
        except CheckpointError:
            return None
        self._models = [weakref.ref(model) for model in models]
        self._optimizers = [weakref.ref(optimizer) for optimizer in optimizers]
        return models


def _variables(models: Iterable[Any], optimizers: Iterable[Any], loose: Iterable[Any]) -> list[Any]:
    of_optimizers = [variable for optimizer in optimizers for variable in optimizer.variables]
    return keras_state.variables_of(models, [*of_optimizers, *loose])


def _shapes(variables: Iterable[Any]) -> list[list[int]]:
    return [list(variable.shape) for variable in variables]


def _by_name(things: Iterable[Any], names: list[str]) -> list[Any] | None:
    """One of each name; None where there is none, or several."""
    found: dict[str, list[Any]] = {name: [] for name in names}
    for thing in things:
        if thing.name in found:
            found[thing.name].append(thing)
    return [found[name][0] for name in names] if all(len(one) == 1 for one in found.values()) else None


def _optimizers() -> list[Any]:
    return [thing for thing in gc.get_objects() if issubclass(type(thing), BaseOptimizer)]


def _alive(references: Iterable[weakref.ref[Any]]) -> list[Any]:
    return [thing for reference in references if (thing := reference()) is not None]


def _path(variable: Any) -> str:
    return str(getattr(variable, "path", variable.name))


def _value(variable: Any) -> Any:
    """One of Keras' holds one of TensorFlow's."""
    return variable.value if isinstance(variable, keras.Variable) else variable
