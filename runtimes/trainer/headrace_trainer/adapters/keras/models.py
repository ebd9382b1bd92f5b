"""Follows what a script does to its Keras models beside training them: loading and saving them, and giving them
weights. At the script's end it looks for the models that could be meant.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from types import ModuleType
from typing import Any

import keras
import tensorflow as tf

from headrace_trainer.adapters import choice
from headrace_trainer.adapters.choice import Candidate, Choice
from headrace_trainer.adapters.keras import naming, weights
from headrace_trainer.adapters.keras.fit import Fits
from headrace_trainer.adapters.keras.living import alive, layers_of, trainable_of
from headrace_trainer.adapters.keras.parts import parts_of
from headrace_trainer.adapters.models import Models, Trained
from headrace_trainer.adapters.own_files import was_written_since
from headrace_trainer.adapters.session import Session

# How deep the lists and dicts of a script's module are looked into.
_DEPTH = 3


def prepare(session: Session) -> None:
    """Lets the session's models know what models of Keras have in common."""
    models = session.models
    models.print_of, models.kind_of, models.is_as_built = weights.print_of, weights.kind_of, weights.are_as_built

    def steps() -> int:
        return session.batch_steps + sum(int(iterations.numpy()) for iterations in session.custom_iterations)

    models.steps = steps


def install(session: Session, fits: Fits) -> None:
    """From here on, building models, loading and saving them and giving them weights is seen."""
    prepare(session)
    weights.follow_building()

    def loaded(model: Any, path: str) -> None:
        if not fits.is_running:
            name, is_own = os.path.basename(path.rstrip("/")), was_written_since(path, session.began)
            session.models.loaded(model, f"loaded from {name}", is_of_own_file=is_own)

    def saved(model: Any, path: str) -> None:
        session.models.saved(model)

    _follow_function("load_model", lambda found, result: (result, found.get("filepath")), loaded)
    _follow_function("load_weights", lambda found, _: (found.get("model"), found.get("filepath")), loaded)
    _follow_function("save_model", lambda found, _: (found.get("model"), found.get("filepath")), saved)
    _follow_function("save_weights", lambda found, _: (found.get("model"), found.get("filepath")), saved)
    original = keras.Model.set_weights

    @functools.wraps(original)
    def set_weights(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, *args, **kwargs)
        if not fits.is_running and tf.executing_eagerly():
            session.models.given_weights(self, "given weights by set_weights")
        return result

    keras.Model.set_weights = set_weights


def choose(session: Session, main: ModuleType) -> Choice:
    """Which model is meant, by the rule of `choice`."""
    models = session.models
    trained_on = naming.put_back_what_was_named(session)
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
    chosen = choice.choose(
        models.named,
        evaluated,
        [*callable_ones, *parts],
        models.dropped,
        untrained=name,
        references=[Candidate(one, name_of(one, main), origin) for one, origin in models.evaluated_references],
        trained_on=trained_on,
    )
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
    parts = [(model, {id(variable) for variable in trainable_of(model)}) for model in alive()]
    found = [(model, part) for model, part in parts if part & wanted]
    inner = {id(layer) for owner, _ in found for layer in layers_of(owner)}
    return [
        owner
        for owner, part in found
        if id(owner) not in inner and not any(part < other for another, other in found if another is not owner)
    ]


def _follow_function(name: str, subject: Any, tell: Callable[[Any, str], None]) -> None:
    """A function of Keras' stands in several of its modules; a model's own method calls it there, too."""
    original = getattr(keras.saving, name)
    signature = inspect.signature(original)

    @functools.wraps(original)
    def follow(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        model, path = subject(signature.bind(*args, **kwargs).arguments, result)
        if isinstance(path, str | os.PathLike) and isinstance(model, keras.Model):
            tell(model, os.fspath(path))
        return result

    for module_name, module in list(sys.modules.items()):
        if module_name.partition(".")[0] == "keras" and vars(module).get(name) is original:
            setattr(module, name, follow)


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
    parts = {id(layer) for model in trained for layer in layers_of(model)}
    return None if id(evaluated) in parts else evaluated


def _wrappers(trained: list[Any]) -> list[tuple[Any, Any]]:
    """Models that have one of the trained ones as a layer and were not trained themselves, with the one in them."""
    inner_of = {id(model): model for model in trained}
    found: list[tuple[Any, Any]] = []
    if trained:
        for model in alive():
            if id(model) not in inner_of:
                found += [(model, layer) for layer in layers_of(model) if id(layer) in inner_of][:1]
    inner = {id(layer) for model in (*trained, *(model for model, _ in found)) for layer in layers_of(model)}
    return [(model, layer) for model, layer in found if id(model) not in inner]


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
