"""Follows what a script does to its Keras models beside training them: loading them, and giving them weights. At the
script's end it looks for the models that could be meant.
"""

from __future__ import annotations

import functools
import gc
import inspect
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import keras

from headrace_trainer.adapters import choice
from headrace_trainer.adapters.choice import Candidate, Choice
from headrace_trainer.adapters.keras import weights
from headrace_trainer.adapters.keras.fit import Fits
from headrace_trainer.adapters.keras.parts import parts_of
from headrace_trainer.adapters.models import Models, Trained
from headrace_trainer.adapters.session import Session

_MODEL_FILES = (".keras", ".h5", ".hdf5")
# How deep the lists and dicts of a script's module are looked into.
_DEPTH = 3


def prepare(models: Models) -> None:
    """Lets them know what models of Keras have in common."""
    models.print_of, models.kind_of, models.is_as_built = weights.print_of, weights.kind_of, weights.are_as_built


def install(session: Session, fits: Fits) -> None:
    """From here on, building models, loading them and giving them weights is seen."""
    prepare(session.models)
    weights.follow_building()
    _follow_functions(session, fits, "load_model", lambda found, result: (result, found.get("filepath")))
    _follow_functions(session, fits, "load_weights", lambda found, _: (found.get("model"), found.get("filepath")))
    original = keras.Model.set_weights

    @functools.wraps(original)
    def set_weights(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, *args, **kwargs)
        _given(session, fits, self, "given weights by set_weights")
        return result

    keras.Model.set_weights = set_weights


def choose(session: Session, main: ModuleType) -> Choice:
    """Which model is meant, by the rule of `choice`."""
    models = session.models
    found = models.candidates()
    trained = [model for model, _ in found]
    found += [(model, f"built around {name_of(inner, main)}") for model, inner in _wrappers(trained)]
    if len(found) > 1:
        # A History, or we ourselves, may be all that still has a model.
        named = {id(value) for value in _values(vars(main), _DEPTH)}
        found = _different([(model, origin) for model, origin in found if id(model) in named] or found)
    candidates = [Candidate(model, name_of(model, main), origin) for model, origin in found]
    parts = [part for candidate in candidates for part in _parts(candidate, main)]
    callable_ones = [candidate for candidate in candidates if not parts_of(candidate.model)]
    evaluated = _evaluated(models, trained)
    untrained = models.evaluated_untrained
    name = "" if untrained is None else name_of(untrained, main)
    chosen = choice.choose(models.named, evaluated, [*callable_ones, *parts], models.dropped, untrained=name)
    reason = next((part.origin for part in parts if part.model is chosen.chosen), "")
    return chosen if chosen.reason else replace(chosen, reason=reason)


def described(models: Models, model: Any) -> Trained:
    """The model with its data; one that was never fed (it was loaded, or built) takes what a model with the same inputs
    was fed.
    """
    known = models.described(model)
    if known.element_spec is not None:
        return known
    for other, _ in models.candidates():
        fed = models.described(other)
        if fed.element_spec is not None and _takes_the_same(model, other):
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


def name_of(model: Any, main: ModuleType) -> str:
    """Keras' own name, and the script's variable, where it is one of the module."""
    variable = next((key for key, value in list(vars(main).items()) if value is model and key[:1] != "_"), None)
    name = str(getattr(model, "name", type(model).__name__))
    return name if variable in (None, name) else f"{variable} ({name})"


def _name_of_part(part: Any, attribute: str, whole: Candidate, main: ModuleType) -> str:
    """By which the script can name it."""
    if any(value is part for value in list(vars(main).values())):
        return name_of(part, main)
    variable = next((key for key, value in list(vars(main).items()) if value is whole.model and key[:1] != "_"), None)
    return f"{variable or whole.name}.{attribute}"


def owners(variables: Iterable[Any]) -> list[Any]:
    """The models that own these variables: of those that have them in common the largest."""
    wanted = {id(variable) for variable in variables}
    if not wanted:
        return []
    parts = [(model, {id(variable) for variable in _trainable(model)}) for model in alive()]
    found = [(model, part) for model, part in parts if part & wanted]
    inner = {id(layer) for owner, _ in found for layer in _layers(owner)}
    return [
        owner
        for owner, part in found
        if id(owner) not in inner and not any(part < other for another, other in found if another is not owner)
    ]


def _follow_functions(session: Session, fits: Fits, name: str, subject: Any) -> None:
    """A function of Keras' stands in several of its modules; a model's own method calls it there, too."""
    original = getattr(keras.saving, name)
    signature = inspect.signature(original)

    @functools.wraps(original)
    def follow(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        model, path = subject(signature.bind(*args, **kwargs).arguments, result)
        if isinstance(path, str | os.PathLike):
            _given(session, fits, model, f"loaded from {os.path.basename(str(path))}")
        return result

    for module_name, module in list(sys.modules.items()):
        if module_name.partition(".")[0] == "keras" and vars(module).get(name) is original:
            setattr(module, name, follow)


def _given(session: Session, fits: Fits, model: Any, origin: str) -> None:
    if not fits.is_running and isinstance(model, keras.Model):
        session.models.given_weights(model, origin)


def _different(found: list[tuple[Any, str]]) -> list[tuple[Any, str]]:
    """Of several that are built alike and have the same weights the first one."""
    firsts: dict[str, tuple[Any, str]] = {}
    for model, origin in found:
        firsts.setdefault(weights.print_of(model), (model, origin))
    return list(firsts.values())


def _parts(candidate: Candidate, main: ModuleType) -> list[Candidate]:
    """In place of a model that cannot be called."""
    return [
        Candidate(
            part, _name_of_part(part, name, candidate, main), f"the {name} of {candidate.name}, which has no call()"
        )
        for name, part in parts_of(candidate.model)
    ]


def _evaluated(models: Models, trained: list[Any]) -> Any:
    """A part of a model that was trained itself is looked at for the sake of the whole: the discriminator of a GAN. One
    that cannot be called is not meant.
    """
    evaluated = models.evaluated_last
    if evaluated is not None and parts_of(evaluated):
        return None
    parts = {id(layer) for model in trained for layer in _layers(model)}
    return None if id(evaluated) in parts else evaluated


def _wrappers(trained: list[Any]) -> list[tuple[Any, Any]]:
    """Models that have one of the trained ones as a layer and were not trained themselves, with the one in them."""
    inner_of = {id(model): model for model in trained}
    found: list[tuple[Any, Any]] = []
    if trained:
        for model in alive():
            if id(model) not in inner_of:
                found += [(model, layer) for layer in _layers(model) if id(layer) in inner_of][:1]
    inner = {id(layer) for model in (*trained, *(model for model, _ in found)) for layer in _layers(model)}
    return [(model, layer) for model, layer in found if id(model) not in inner]


def alive() -> list[Any]:
    """All models of this process."""
    gc.collect()
    return [thing for thing in gc.get_objects() if issubclass(type(thing), keras.Model)]


def _layers(model: Any) -> list[Any]:
    """A Sequential has a functional model of its own beside its layers, which nobody means."""
    functional = getattr(model, "_functional", None)
    return [*model._flatten_layers(include_self=False), *([] if functional is None else [functional])]


def _trainable(model: Any) -> list[Any]:
    try:
        return list(model.trainable_variables)
    except Exception:  # noqa: BLE001 - one that is half made; it cannot be exported either
        return []


def _takes_the_same(model: Any, other: Any) -> bool:
    shapes = [[tuple(tensor.shape) for tensor in getattr(one, "inputs", None) or ()] for one in (model, other)]
    return weights.kind_of(model) == weights.kind_of(other) or bool(shapes[0] and shapes[0] == shapes[1])


def _values(container: dict[str, Any], depth: int) -> Iterator[Any]:
    """What a script's names reach, in its lists and dicts too."""
    pending = [(value, depth) for value in list(container.values())]
    while pending:
        value, left = pending.pop()
        yield value
        if left and isinstance(value, dict):
            pending += [(held, left - 1) for held in list(value.values())[:1000]]
        elif left and isinstance(value, list | tuple | set):
            pending += [(held, left - 1) for held in list(value)[:1000]]
