"""What a loop of the script's own trains: the optimizers that it uses, the models that own what they are applied to,
models that it changes otherwise, and variables that no model owns. In the next attempt, where these things have been
made and nothing has been trained yet, they are found again (match.py).

Held weakly: what the script has let go of is not in its state any more.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from keras.src.optimizers.base_optimizer import BaseOptimizer

from headrace_trainer.adapters.checkpoint import Checkpoint
from headrace_trainer.adapters.keras.loops import made
from headrace_trainer.adapters.keras.loops import match as loop_match
from headrace_trainer.adapters.keras.models.living import variables_in
from headrace_trainer.adapters.keras.state import variables as keras_state

_METRIC = f"{keras_state.PREFIX}metric-"

LOOP = "loop"  # of a snapshot's, or a finished fit's state, where it is a loop


@dataclass(frozen=True)
class Earlier:
    """How an earlier attempt left a loop: in its middle, or, where another or a fit came after it, at its end."""

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


@dataclass(frozen=True)
class NotThere:
    """Why a state could not be put back. `is_to_come`: what it is of may be made by the first step."""

    what: str
    is_to_come: bool


@dataclass
class LoopState:
    """In the order in which the loop came to use them."""

    _optimizers: list[weakref.ref[Any]] = field(default_factory=list)
    _holders: list[weakref.ref[Any]] = field(default_factory=list)  # optimizers that use one of these
    _models: list[weakref.ref[Any]] = field(default_factory=list)
    _changed: list[weakref.ref[Any]] = field(default_factory=list)  # by something else than an optimizer
    _loose: list[Any] = field(default_factory=list)

    @property
    def optimizers(self) -> list[Any]:
        return _alive(self._optimizers)

    @property
    def trained(self) -> list[Any]:
        """The models that an optimizer has changed."""
        return _alive(self._models)

    @property
    def models(self) -> list[Any]:
        trained = self.trained
        return [*trained, *(one for one in _alive(self._changed) if not any(one is other for other in trained))]

    @property
    def has_lost_models(self) -> bool:
        """Whether the script has let go of a model that it has trained."""
        return len(self.trained) < len(self._models)

    def knows(self, optimizer: Any) -> bool:
        return any(known() is optimizer for known in self._optimizers)

    def add(self, optimizer: Any, models: Iterable[Any], variables: Iterable[Any]) -> None:
        """An optimizer, with the models whose variables it is applied to."""
        self._optimizers.append(weakref.ref(optimizer))
        self._holders += [
            weakref.ref(one) for one in made.optimizers.alive() if any(held is optimizer for held in vars(one).values())
        ]
        for model in models:
            if not any(known is model for known in self.trained):
                self._models.append(weakref.ref(model))
        owned = {id(keras_state.inner(variable)) for model in self.models for variable in model.variables}
        owned |= {id(keras_state.inner(variable)) for variable in self._loose}
        self._loose += [variable for variable in variables if id(keras_state.inner(variable)) not in owned]

    def add_changed(self, models: Iterable[Any]) -> None:
        """Models that it changes without an optimizer."""
        self._changed += [weakref.ref(model) for model in models if not any(model is known for known in self.models)]

    def variables(self) -> dict[str, Any]:
        """All that is to be kept, by the names that their values have in a checkpoint."""
        return _named(self.models, self._all_optimizers(), self._loose)

    def described(self) -> dict[str, Any]:
        """As JSON: what `put_back` finds it by."""
        models = self.models
        owned = {
            id(keras_state.inner(variable)): [number, place]
            for number, model in reversed(list(enumerate(models)))
            for place, variable in enumerate(model.variables)
        }
        return {
            "models": [loop_match.describe(model, made.models, _shapes_of) for model in models],
            "optimizers": [
                {
                    **loop_match.describe(one, made.optimizers, _no_shapes),
                    "variables": [owned.get(id(keras_state.inner(variable))) for variable in one._trainable_variables],
                }
                for one in self._all_optimizers()
            ],
            "trained": len(self.trained),
            "used": len(self.optimizers),
            "loose": len(self._loose),
            "shapes": _shapes(self.variables()),
        }

    def put_back(self, before: Earlier) -> NotThere | None:
        """Loads what an earlier attempt kept, once all that it is of has been made; else tells what is not there."""
        gc.collect()  # what the script has no more is not meant
        wanted = before.state[LOOP]
        is_to_come = not self._optimizers
        models, missing = loop_match.find(wanted["models"], made.models, _shapes_of)
        optimizers, missing_one = loop_match.find(wanted["optimizers"], made.optimizers, _no_shapes)
        if missing or missing_one:
            return NotThere(missing or missing_one, is_to_come=False)
        for model, described in zip(models, wanted["models"], strict=True):
            if _shapes_of(model) != described["shapes"]:
                return NotThere(f"what is in the model {model.name!r}", is_to_come=True)
        if len(self._loose) != wanted["loose"]:
            return NotThere("a variable that is of no model", is_to_come)
        for optimizer, described in zip(optimizers, wanted["optimizers"], strict=True):
            if not optimizer.built and not _build(optimizer, described["variables"], models):
                return NotThere(f"what is in the optimizer {optimizer.name!r}", is_to_come)
        targets = _named(models, optimizers, self._loose)
        shapes = _shapes(targets)
        for name in dict.fromkeys((*wanted["shapes"], *shapes)):
            if name.startswith(_METRIC) and (name not in shapes or name not in wanted["shapes"]):
                continue  # made with the first batch, and begun anew with each
            if shapes.get(name) != wanted["shapes"].get(name):
                return NotThere("a variable", is_to_come)
        for name in wanted["shapes"].keys() & shapes.keys():
            keras_state.load([targets[name]], {name: before.arrays[name]})
        trained, used = wanted["trained"], wanted["used"]
        self._models, self._changed = _references(models[:trained]), _references(models[trained:])
        self._optimizers, self._holders = _references(optimizers[:used]), _references(optimizers[used:])
        return None

    def _all_optimizers(self) -> list[Any]:
        known = self.optimizers
        return [*known, *(one for one in _alive(self._holders) if not any(one is other for other in known))]


def _build(optimizer: Any, places: list[list[int] | None], models: list[Any]) -> bool:
    """With the variables that it had; whether they are there."""
    if any(place is None for place in places):
        return False
    variables = [models[place[0]].variables[place[1]] for place in places if place is not None]
    with _scope_of(variables):
        optimizer.build(variables)
    optimizer.built = True
    return True


def _scope_of(variables: list[Any]) -> AbstractContextManager[Any]:
    """Where the script makes what belongs to these: they may lie on several devices (tf.distribute)."""
    strategies = [getattr(keras_state.inner(variable), "distribute_strategy", None) for variable in variables]
    strategy = next((one for one in strategies if one is not None), None)
    return nullcontext() if strategy is None else strategy.scope()


def _named(models: Iterable[Any], optimizers: Iterable[Any], loose: Iterable[Any]) -> dict[str, Any]:
    """Each once, by where it is: names may be of several."""
    found: dict[str, Any] = {}
    seen: set[int] = set()

    def add(kind: str, variables: Iterable[Any]) -> None:
        for place, variable in enumerate(variables):
            if id(keras_state.inner(variable)) not in seen:
                seen.add(id(keras_state.inner(variable)))
                found[f"{kind}/{place}"] = variable

    for number, optimizer in enumerate(optimizers):
        add(f"{keras_state.PREFIX}optimizer-{number}", optimizer.variables)
    for number, model in enumerate(models):
        add(f"{_METRIC}{number}", model.metrics_variables)
        add(f"{keras_state.PREFIX}model-{number}", model.variables)
    for number, model in enumerate(models):
        metrics = {id(variable) for variable in model.metrics_variables}  # not all of them may be there yet
        beside = [variable for variable in keras_state.variables_of([model]) if id(variable) not in metrics]
        add(f"{keras_state.PREFIX}beside-{number}", beside)
    add(f"{keras_state.PREFIX}loose", loose)
    return found


def _shapes(variables: Mapping[str, Any]) -> dict[str, list[int]]:
    return {name: list(variable.shape) for name, variable in variables.items()}


def _shapes_of(model: Any) -> list[list[int]]:
    return [list(variable.shape) for variable in variables_in(model)]


def _no_shapes(_: BaseOptimizer) -> list[list[int]]:
    """An optimizer has its variables from its first use on."""
    return []


def _references(things: Iterable[Any]) -> list[weakref.ref[Any]]:
    return [weakref.ref(thing) for thing in things]


def _alive(references: Iterable[weakref.ref[Any]]) -> list[Any]:
    return [thing for reference in references if (thing := reference()) is not None]
