"""Follows what a script does to its Keras models beside training them: loading and saving them, giving them weights,
and naming the one that is meant. At the script's end it looks for the models that could be meant.
"""

from __future__ import annotations

import functools
import gc
import inspect
import os
import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import keras
import tensorflow as tf

from headrace_common.formats import ModelFormat as Format
from headrace_trainer.adapters import choice
from headrace_trainer.adapters.choice import Candidate, Choice
from headrace_trainer.adapters.keras import file, weights
from headrace_trainer.adapters.keras.fit import Fits
from headrace_trainer.adapters.keras.kept import FILE, Kept, KeptBefore
from headrace_trainer.adapters.keras.parts import parts_of
from headrace_trainer.adapters.models import Models, Trained
from headrace_trainer.adapters.own_files import was_written_since
from headrace_trainer.adapters.session import Session
from headrace_trainer.adapters.streams import say

_MODEL_FILES = (".keras", ".h5", ".hdf5")
# How deep the lists and dicts of a script's module are looked into.
_DEPTH = 3
# What these have a file says in another way.
_LIBRARIES = {"keras", "tensorflow", "builtins", "numpy", "headrace_client"}


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
    _find_kept_before(session)
    trained_on = models.kept is not None and weights.print_of(models.named) != models.kept.weights
    if models.kept is not None:
        models.kept.put_back()
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


def name_model(session: Session, model: Any, format_: str | None) -> None:
    """headrace_client.export in a script that Keras is followed in. One that was trained by now is meant as it is now,
    one that is still to be trained as it will be. Raises TypeError or ValueError for what is not a model,
    FileNotFoundError for a file that is not there. That Keras cannot make a model of a file is no reason to end a
    script that has trained for hours: it is told at its end, in place of the model.
    """
    models = session.models
    if format_ is not None:
        raise ValueError("in a job of framework Keras the formats are those of spec.output.formats: leave `format` out")
    problem = ""
    if isinstance(model, str | os.PathLike):
        path = Path(model)
        if path.suffix not in _MODEL_FILES:
            raise ValueError(f"{path}: in a job of framework Keras a model, or a .keras file, is handed over")
        if not path.is_file():
            raise FileNotFoundError(f"there is no file {path}")
        trained = [one for one, _ in models.candidates()]
        is_own = was_written_since(path, session.began)
        try:
            model = file.read(path, own_objects(sys.modules["__main__"], trained), safe_mode=not is_own)
        except file.CannotBeRead as error:
            model, problem = None, str(error)
            say(f"headrace: {problem}")
    elif not isinstance(model, keras.Model):
        raise TypeError(f"a {type(model).__name__} is no Keras model, and not the path of a .keras file")
    is_to_be_kept = not problem and _was_trained(models, model)
    before, models.kept = models.kept, None
    if isinstance(before, Kept):
        before.forget()
    models.named, models.cannot_be_read = model, problem
    if is_to_be_kept:
        with_optimizer = Format.KERAS in session.settings.formats
        of_same = before if isinstance(before, Kept) and before.is_of(model) else None
        models.kept = Kept(model, with_optimizer=with_optimizer, before=of_same)
    elif not problem:
        models.named_print = weights.print_of(model)


def _was_trained(models: Models, model: Any) -> bool:
    """Itself, or what it has layers of; or its weights are not those with which it was named before, whoever has
    changed them.
    """
    trained = models.trained_by_now
    if any(one is model for one in trained):
        return True
    if models.named is model and (models.kept is not None or models.named_print != weights.print_of(model)):
        return True
    own = {id(variable) for variable in _trainable(model)}
    return any(own & {id(variable) for variable in _trainable(one)} for one in trained)


def _find_kept_before(session: Session) -> None:
    """What an earlier attempt has named at its best counts where this one did not come to do so again: its callbacks
    were not called for the epochs that it passed over.
    """
    models, path = session.models, session.files.root / FILE
    if models.kept is not None or models.cannot_be_read or not session.files.carries(FILE) or not path.is_file():
        return
    try:
        kept = KeptBefore(path)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        session.messages.warn("model", f"what an earlier attempt has named cannot be read: {error}")
        return
    found = kept.find([models.named] if models.named is not None else alive())
    if found is not None:
        models.named, models.kept = found, kept
    elif models.named is None:
        session.messages.warn("model", "what an earlier attempt has named is no model that the script still has")


def own_objects(main: ModuleType, models: Iterable[Any]) -> dict[str, Any]:
    """What the script has made itself, or imported from its own modules, by the name that a file of a model has."""
    classes = [type(layer) for model in models for layer in [model, *_layers(model)]]
    values = [value for value in list(vars(main).values()) if isinstance(value, type | FunctionType)]
    found = {value.__name__: value for value in [*classes, *values]}
    return {name: value for name, value in found.items() if str(value.__module__).partition(".")[0] not in _LIBRARIES}


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
