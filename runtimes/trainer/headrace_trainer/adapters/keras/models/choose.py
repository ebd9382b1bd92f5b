"""Which of a script's Keras models is meant, looked for at its end: the candidates, by the names that
the script can use.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from types import ModuleType
from typing import Any

from headrace_trainer.adapters import choice
from headrace_trainer.adapters.choice import Candidate, Choice
from headrace_trainer.adapters.keras.models import naming, weights
from headrace_trainer.adapters.keras.models.living import alive, layers_of
from headrace_trainer.adapters.keras.models.parts import parts_of
from headrace_trainer.adapters.models import Models, Trained
from headrace_trainer.adapters.session import Session

# How deep the lists and dicts of a script's module are looked into.
_DEPTH = 3


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
