"""Follows what a script does to its Keras models beside training them: saving, loading, replacing weights. At the
script's end it looks for the models that could be meant.
"""

from __future__ import annotations

import functools
import gc
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import keras

from headrace_trainer.adapters import choice
from headrace_trainer.adapters.choice import Candidate, Choice
from headrace_trainer.adapters.keras.fit import Fits
from headrace_trainer.adapters.models import Models, Trained
from headrace_trainer.adapters.session import Session

_MODEL_FILES = (".keras", ".h5", ".hdf5")


def install(session: Session, fits: Fits) -> None:
    """From here on, saving, loading and replacing weights are seen."""
    _after_saving("save", session, fits)
    _after_saving("save_weights", session, fits)
    _after_new_weights("load_weights", session, fits, has_path=True)
    _after_new_weights("set_weights", session, fits, has_path=False)
    _follow_load_model(session)


def choose(session: Session, main: ModuleType) -> Choice:
    """Which model is meant, by the rule of `choice`."""
    models = session.models
    found = models.candidates()
    trained = [model for model, _ in found]
    found += [(model, f"built around {name_of(inner, main)}") for model, inner in _wrappers(trained)]
    candidates = [Candidate(model, name_of(model, main), origin) for model, origin in found]
    return choice.choose(models.named, models.evaluated, candidates, models.dropped)


def described(models: Models, model: Any) -> Trained:
    """The model with its data; one that was never fed (it was loaded, or built) takes what a model with the same inputs
    was fed.
    """
    known = models.described(model)
    if known.element_spec is not None:
        return known
    for other, _ in models.candidates():
        fed = models.described(other)
        if fed.element_spec is not None and _input_shapes(model) and _input_shapes(other) == _input_shapes(model):
            return Trained(model, fed.element_spec, fed.rows)
    return known


def name_model(models: Models, model: Any, format_: str | None) -> None:
    """headrace_client.export in a script that Keras is followed in. Raises TypeError or ValueError for what is not a
    model, FileNotFoundError for a file that is not there.
    """
    if format_ is not None:
        raise ValueError("in a job of framework Keras the formats are those of spec.output.formats: leave `format` out")
    if isinstance(model, str | os.PathLike):
        path = Path(model)
        if path.suffix not in _MODEL_FILES:
            raise ValueError(f"{path}: in a job of framework Keras a model, or a .keras file, is handed over")
        if not path.is_file():
            raise FileNotFoundError(f"there is no file {path}")
        model = keras.models.load_model(path)
    if not isinstance(model, keras.Model):
        raise TypeError(f"a {type(model).__name__} is no Keras model, and not the path of a .keras file")
    models.named = model


def _after_saving(method: str, session: Session, fits: Fits) -> None:
    original = getattr(keras.Model, method)

    @functools.wraps(original)
    def save(self: Any, filepath: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, filepath, *args, **kwargs)
        if isinstance(filepath, str | os.PathLike) and not fits.note_saved(self, filepath):
            session.models.saved(filepath, session.models.scores_of(self))
        return result

    setattr(keras.Model, method, save)


def _after_new_weights(method: str, session: Session, fits: Fits, *, has_path: bool) -> None:
    original = getattr(keras.Model, method)

    @functools.wraps(original)
    def put(self: Any, given: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, given, *args, **kwargs)
        if not fits.is_running:
            session.models.weights_changed(self, given if has_path and isinstance(given, str | os.PathLike) else None)
        return result

    setattr(keras.Model, method, put)


def _follow_load_model(session: Session) -> None:
    """It stands in several of Keras' modules, as the same function."""
    original = keras.models.load_model

    @functools.wraps(original)
    def load_model(filepath: Any, *args: Any, **kwargs: Any) -> Any:
        model = original(filepath, *args, **kwargs)
        if isinstance(filepath, str | os.PathLike):
            session.models.loaded(model, filepath)
        return model

    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "keras" and vars(module).get("load_model") is original:
            module.load_model = load_model  # type: ignore[attr-defined]


def owners(variables: Iterable[Any]) -> list[Any]:
    """The models that own these variables, without those that are a layer of another one."""
    wanted = {id(variable) for variable in variables}
    if not wanted:
        return []
    found = [model for model in _alive() if any(id(variable) in wanted for variable in _weights(model))]
    inner = {id(layer) for owner in found for layer in _layers(owner)}
    return [owner for owner in found if id(owner) not in inner]


def _wrappers(trained: list[Any]) -> list[tuple[Any, Any]]:
    """Models that have one of the trained ones as a layer and were not trained themselves, with the one in them."""
    inner_of = {id(model): model for model in trained}
    found: list[tuple[Any, Any]] = []
    if trained:
        for model in _alive():
            if id(model) not in inner_of:
                found += [(model, layer) for layer in _layers(model) if id(layer) in inner_of][:1]
    inner = {id(layer) for model, _ in found for layer in _layers(model)}
    return [(model, layer) for model, layer in found if id(model) not in inner]


def _alive() -> list[Any]:
    gc.collect()
    return [thing for thing in gc.get_objects() if issubclass(type(thing), keras.Model)]


def _layers(model: Any) -> list[Any]:
    """A Sequential has a functional model of its own beside its layers, which nobody means."""
    functional = getattr(model, "_functional", None)
    return [*model._flatten_layers(include_self=False), *([] if functional is None else [functional])]


def _weights(model: Any) -> list[Any]:
    try:
        return list(model.trainable_variables)
    except Exception:  # noqa: BLE001 - one that is half made; it cannot be exported either
        return []


def _input_shapes(model: Any) -> list[tuple[int | None, ...]]:
    return [tuple(tensor.shape) for tensor in getattr(model, "inputs", None) or ()]


def name_of(model: Any, main: ModuleType) -> str:
    """Keras' own name, and the script's variable, where it is one of the module."""
    variable = next((key for key, value in list(vars(main).items()) if value is model and key[:1] != "_"), None)
    name = str(getattr(model, "name", type(model).__name__))
    return name if variable in (None, name) else f"{variable} ({name})"
