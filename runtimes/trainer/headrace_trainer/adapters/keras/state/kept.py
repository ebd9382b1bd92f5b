"""What a checkpoint keeps of a fit beside the variables of its model: the attributes of callbacks, and of the model
where they have changed since the fit began; and the names of what the script keeps elsewhere, which is not restored.

One look is taken where the fit begins, as each attempt comes to there by itself; what is found at a checkpoint is
compared with it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from headrace_trainer.adapters.arrays import Array
from headrace_trainer.adapters.functions import (
    TooMuchCode,
    attributes_of,
    attributes_set_by,
    codes_of,
    functions_of,
    is_of_library,
    is_of_script,
)
from headrace_trainer.adapters.keras.state import held
from headrace_trainer.adapters.keras.state import variables as keras_state
from headrace_trainer.adapters.keras.state.held import Back, Look
from headrace_trainer.adapters.outside import reached

_COMPARISONS = {"less": keras.ops.less, "greater": keras.ops.greater}
_NAMED = 5
_BEFORE = ("__init__", "build", "get_config")  # a step
# Of a layer, whose attributes TensorFlow follows.
OF_TENSORFLOW = "_self_"


@dataclass(frozen=True)
class Taken:
    """What is to be kept: as JSON, with the arrays that it names, and variables by the names of their arrays."""

    state: dict[str, Any]
    arrays: dict[str, Array]
    variables: dict[str, Any]


class Kept:
    """Of one fit. `earlier` is the state of the checkpoint that it goes on from: what it kept of the model, and had not
    kept of the rest, is so from there on.
    """

    def __init__(self, model: Any, callbacks: Sequence[Any], earlier: Mapping[str, Any] | None) -> None:
        self._model = model
        self._callbacks = callbacks
        self._unkept = list((earlier or {}).get("unkept", ()))
        self._kept_of_model = {
            (kept["index"], name) for kept in (earlier or {}).get("model", ()) for name in kept["attributes"]
        }
        self._began = Look()
        self._model_began: dict[tuple[int, str], int] = {}
        self._outside_began: dict[str, int] = {}

    def begin(self) -> None:
        """The callbacks have been told that the fit begins."""
        self._began = self._look(np.asarray)
        _described(self._callbacks, self._began)
        self._began.arrays.clear()
        self._began.in_place |= {id(place) for place in self._began.places_now()}
        self._model_began = self._prints_of_model()
        self._outside_began = {name: printed for name, printed, _ in self._outside(self._began)}

    def first_step_ended(self) -> None:
        """What a traced step does to Python's attributes it does while it is traced, in each attempt anew."""
        if not self._model.run_eagerly:
            self._model_began = self._prints_of_model()

    def take(self) -> Taken:
        """As it is now."""
        look = self._look(np.array)
        callbacks = _described(self._callbacks, look)
        self._miss(path for path, printed in look.opaque.items() if not self._is_unchanged(path, printed))
        model = self._changes_of_model(look)
        self._miss(
            f":{name}"
            for name, printed, is_known in self._outside(look)
            if not is_known or self._outside_began.get(name) != printed
        )
        state = {"callbacks": callbacks, "model": model, "unkept": list(self._unkept)}
        return Taken(state, look.arrays, look.variables)

    def put_back(self, state: Mapping[str, Any], arrays: Mapping[str, Array], *, with_variables: bool) -> list[str]:
        """The names of what could not be, or was not kept. Without the variables it is not yet what it will be."""
        back = Back(arrays, _Known(self._model), with_variables)
        put_back(self._callbacks, state["callbacks"], back)
        if with_variables:
            self._put_back_model(state["model"], back)
            self._miss(back.missing)
        return [*state["unkept"], *(name for name in _names(back.missing) if name not in state["unkept"])]

    def _put_back_model(self, states: Sequence[Mapping[str, Any]], back: Back) -> None:
        roots = dict(_roots(self._model))
        for kept in states:
            root = roots.get(kept["index"])
            path = f"model:{kept['name']}"
            if root is None or type(root).__name__ != kept["class"]:
                back.missing.append(path)
                continue
            back.attributes(root, kept["attributes"], path)
            if not self._model.run_eagerly:
                # The step will be traced with the values of now, where it was with those of the beginning.
                back.missing += [f"{path}.{name}" for name in kept["attributes"] if _may_read(root, name)]

    def _look(self, take: Any) -> Look:
        return Look(
            known=_Known(self._model),
            began=self._began.places,
            began_prints=self._began.prints,
            take=take,
            seen={id(callback) for callback in self._callbacks},
        )

    def _is_unchanged(self, path: str, printed: int | None) -> bool:
        return printed is not None and self._began.opaque.get(path) == printed

    def _miss(self, paths: Iterable[str]) -> None:
        self._unkept += [name for name in _names(paths) if name not in self._unkept]

    def _attributes_of_model(self) -> Iterator[tuple[int, Any, str, Any]]:
        for index, root in _roots(self._model):
            skipped = set_by_library(type(root)) | held.RUN_ATTRIBUTES | {"history"}
            for name, value in list(vars(root).items()):
                if name not in skipped and not name.startswith(OF_TENSORFLOW):
                    yield index, root, name, value

    def _prints_of_model(self) -> dict[tuple[int, str], int]:
        known = _Known(self._model)
        prints: dict[tuple[int, str], int] = {}
        for index, root, name, value in self._attributes_of_model():
            look = Look(known, take=np.asarray, seen={id(root)})
            prints[index, name] = held.print_of(look, look.at(value, name))
        return prints

    def _changes_of_model(self, look: Look) -> list[dict[str, Any]]:
        now = self._prints_of_model()
        changed: dict[int, dict[str, Any]] = {}
        for index, root, name, value in self._attributes_of_model():
            place = index, name
            if now.get(place) == self._model_began.get(place) and place not in self._kept_of_model:
                continue
            kept = changed.setdefault(
                index, {"index": index, "class": type(root).__name__, "name": _name(root), "attributes": {}}
            )
            before = set(look.opaque)
            kept["attributes"][name] = look.at(value, f"model:{_name(root)}.{name}")
            self._miss(path for path in look.opaque if path not in before)
        return list(changed.values())

    def _outside(self, kept: Look) -> Iterator[tuple[str, int, bool]]:
        """What is not kept with a callback: its name, its print, and whether that tells all of it."""
        owners = list(self._callbacks)
        if self._model.run_eagerly:
            owners += [root for _, root in _roots(self._model)]
        known = _Known(self._model, kept.variables.values())
        for name, value in reached(owners).items():
            if id(value) in kept.seen or id(value) in kept.in_place:
                continue
            look = Look(known, take=np.asarray, seen={id(owner) for owner in owners})
            if isinstance(value, type):
                own = values_of_class(value) if is_of_script(value) else {}
                node: Any = [look.at(one, name) for one in own.values() if id(one) not in kept.in_place]
            else:
                node = look.at(value, name)
            yield name, held.print_of(look, node), None not in look.opaque.values()


class _Known:
    """The variables of a model, and others: asked for where somebody asks, as a short fit has few that do."""

    def __init__(self, model: Any, others: Iterable[Any] = ()) -> None:
        self._model, self._others = model, others

    @functools.cached_property
    def _ids(self) -> frozenset[int]:
        everything = [*keras_state.variables(self._model), *self._others]
        return frozenset(id(keras_state.inner(variable)) for variable in everything)

    def __contains__(self, one: object) -> bool:
        return one in self._ids


def sentence(names: Sequence[str]) -> str:
    """Why a resume is not known to be exact; empty where it is."""
    if not names:
        return ""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"what the script keeps in {', '.join(names[:_NAMED])}{more} is not restored"


def callback_states(callbacks: Sequence[Any], arrays: dict[str, Array]) -> list[dict[str, Any]]:
    """Of callbacks without a model of their own."""
    look = Look(arrays=arrays)
    return _described(callbacks, look)


def put_back(callbacks: Sequence[Any], states: Sequence[Mapping[str, Any]], back: Back) -> None:
    """Puts attributes back; a callback of another class is left as it is."""
    for index, (callback, state) in enumerate(zip(callbacks, states, strict=False)):
        if type(callback).__name__ != state["class"]:
            continue
        library = set_by_library(type(callback))
        nodes = {
            name: node
            for name, node in state["attributes"].items()
            # Which functions Keras' own callbacks use they choose again.
            if name not in library or node["kind"] not in ("function", "call")
        }
        back.attributes(callback, nodes, _path(index, callback))
        if state["comparison"] is not None:
            callback.monitor_op = _COMPARISONS[state["comparison"]]
        if isinstance(callback, keras.callbacks.CSVLogger) and callback.keys is not None:
            # Its file has come back with its header.
            callback.append_header = False


def _described(callbacks: Sequence[Any], look: Look) -> list[dict[str, Any]]:
    """The attributes of each callback, and the direction of those that monitor a metric."""
    states: list[dict[str, Any]] = []
    for index, callback in enumerate(callbacks):
        path = _path(index, callback)
        state = {
            "class": type(callback).__name__,
            "attributes": look.attributes(callback, path),
            "comparison": _comparison(callback),
        }
        states.append(state)
        library = set_by_library(type(callback))
        for opaque in [found for found in look.opaque if found.startswith(f"{path}.")]:
            name = opaque.removeprefix(f"{path}.").partition(".")[0].partition("[")[0]
            if name in library or held.is_fixed_class(type(callback)):
                del look.opaque[opaque]
    return states


def _comparison(callback: Any) -> str | None:
    """Keras finds the direction at the end of the first epoch, and turns the sign of min_delta with it: once only."""
    chosen = getattr(callback, "monitor_op", None)
    return next((name for name, function in _COMPARISONS.items() if function is chosen), None)


def _path(index: int, callback: Any) -> str:
    return f"{index}:{type(callback).__name__}"


def _names(paths: Iterable[str]) -> list[str]:
    """As the script's author knows them."""
    return list(dict.fromkeys(path.partition(":")[2] for path in paths))


def _name(root: Any) -> str:
    return str(getattr(root, "name", type(root).__name__))


def _roots(model: Any) -> list[tuple[int, Any]]:
    """The layers, metrics, losses, and the optimizer with its schedule, as far as their classes are the script's."""
    optimizer = getattr(model, "optimizer", None)
    everything = [
        *model._flatten_layers(),
        *model.metrics,
        optimizer,
        getattr(optimizer, "_learning_rate", None),
        *keras.tree.flatten(getattr(model, "loss", None)),
    ]
    once = {id(one): one for one in everything}
    return [(index, one) for index, one in enumerate(once.values()) if _is_own(one)]


def _is_own(thing: Any) -> bool:
    return is_of_script(type(thing)) and hasattr(thing, "__dict__")


def values_of_class(kind: type) -> dict[str, Any]:
    """Of a class. Without methods, and what else looks after an attribute."""
    return {
        name: value
        for name, value in vars(kind).items()
        if not name.startswith("__") and not callable(value) and not hasattr(type(value), "__get__")
    }


def set_by_library(kind: type) -> frozenset[str]:
    """The attributes that the libraries' own classes set."""
    return frozenset().union(*(attributes_set_by(one) for one in kind.__mro__ if is_of_library(one)))


def _may_read(root: Any, attribute: str) -> bool:
    """Whether what runs in a compiled step may."""
    try:
        return any(
            attribute in code.co_names
            for function in functions_of(attributes_of(root), is_of_script)
            if function.__name__ not in _BEFORE
            for code in codes_of(function)
        )
    except TooMuchCode:
        return True
