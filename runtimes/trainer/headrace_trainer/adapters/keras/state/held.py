"""What hangs on an object of the script's own (a callback, a layer), and putting it back where it hung: plain values;
the variables of models, optimizers and metrics; generators of random numbers; what other objects of the script's hold
of these. What is none of them, nor known to have no state of the training, is `opaque`: of that only a print is taken,
where that is possible, so that it is known whether it changes.

A `node` is a description as JSON. Plain values that were changed in their place are put back into what is in that place
now, as somebody else may look at it, too.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import logging
import pickle
import random
import re
import sys
import threading
import weakref
import zlib
from collections import OrderedDict, deque
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType, SimpleNamespace
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.src.optimizers.base_optimizer import BaseOptimizer
from keras.src.random.seed_generator import SeedGenerator

from headrace_trainer.adapters import values
from headrace_trainer.adapters.arrays import Array
from headrace_trainer.adapters.functions import is_of_script
from headrace_trainer.adapters.keras.state import variables as keras_state

Node = dict[str, Any]

# What a callback holds of the run that it is in; set again by Keras.
RUN_ATTRIBUTES = frozenset({"_model", "model", "params"})
PREFIX = "held-"

# Arrays of this size are not written with each checkpoint, where they are what they were when the fit began.
_LARGE_BYTES = 1 << 20
_MOST_PICKLED_BYTES = 16 << 20
_MOST_OBJECTS = 10_000
_MOST_ARRAYS = 10_000  # of one attribute: each is an entry of a file
_DEEPEST = 50
_MOST_SAMPLED = 1 << 24
_TWO_POINTERS = 16

_PLACES = (list, dict, set, deque, bytearray)
_FIXED_TYPES: tuple[Any, ...] = (
    type,
    ModuleType,
    FunctionType,
    BuiltinFunctionType,
    weakref.ref,
    np.ufunc,
    np.dtype,
    re.Pattern,
    logging.Logger,
    logging.Handler,
    logging.LoggerAdapter,
    threading.Event,
    threading.Condition,
    type(threading.Lock()),
    type(threading.RLock()),
    tf.data.Dataset,
    tf.distribute.Strategy,
    tf.summary.SummaryWriter,
    tf.types.experimental.PolymorphicFunction,
    tf.types.experimental.ConcreteFunction,
    tf.TypeSpec,
)
_SHOW = (logging.Logger, logging.Handler, logging.LoggerAdapter, tf.summary.SummaryWriter, io.TextIOBase)
# They show and log.
_FIXED_MODULES = frozenset(
    {"matplotlib", "mpl_toolkits", "seaborn", "tqdm", "rich", "mlflow", "wandb", "tensorboard", "tensorboardX"}
)
_GENERATORS = (random.Random, np.random.RandomState, np.random.Generator)


@dataclass
class Look:
    """One look at what hangs there. `known` are the variables that are kept without it; `began`, where the fit began,
    has what hung in each place.
    """

    known: Container[int] = frozenset()
    began: Mapping[str, Any] = field(default_factory=dict)
    began_prints: Mapping[str, int] = field(default_factory=dict)
    take: Callable[[Any], Array] = np.array
    arrays: dict[str, Array] = field(default_factory=dict)
    variables: dict[str, Any] = field(default_factory=dict)  # by the names that they have in a checkpoint
    opaque: dict[str, int | None] = field(default_factory=dict)
    places: dict[str, Any] = field(default_factory=dict)
    prints: dict[str, int] = field(default_factory=dict)  # of what has large arrays
    seen: set[int] = field(default_factory=set)
    in_place: set[int] = field(default_factory=set)
    _depth: int = 0

    def at(self, value: Any, path: str) -> Node:
        """What hangs there."""
        plain = self._plain(value, path)
        if plain is not None:
            return plain
        self._depth += 1
        try:
            return self._at(value, path)
        finally:
            self._depth -= 1

    def _at(self, value: Any, path: str) -> Node:
        if isinstance(value, MethodType | partial):
            return self._items("call", list(enumerate(_parts(value))), value, path) | {"name": _called(value)}
        if isinstance(value, FunctionType):
            return {"kind": "function", "name": _called(value)}
        found = _variables_of(value)
        if found is not None:
            return self._variables(value, found, path)
        if isinstance(value, _GENERATORS):
            return self._random(value)
        if id(value) in self.seen or is_fixed(value):
            return _fixed(value)
        self.seen.add(id(value))
        is_bounded = self._depth < _DEEPEST and len(self.seen) < _MOST_OBJECTS
        if isinstance(value, dict) and is_bounded:
            return self._items("dict", list(value.items()), value, path)
        if isinstance(value, list | tuple | deque) and is_bounded:
            return self._items("list", list(enumerate(value)), value, path)
        if is_walked(value) and is_bounded:
            return {"kind": "object", "class": type(value).__name__, "attributes": self.attributes(value, path)}
        self.opaque[path] = _pickled(value)
        return {"kind": "opaque", "class": type(value).__name__}

    def attributes(self, owner: Any, path: str, skipped: Iterable[str] = RUN_ATTRIBUTES) -> dict[str, Node]:
        """Of an object of the script's, those of its class among them that may change in their place."""
        return {
            name: self.at(value, f"{path}.{name}")
            for name, value in (_of_class(owner) | dict(vars(owner))).items()
            if name not in skipped
        }

    def places_now(self) -> list[Any]:
        """What was found that could be changed in its place."""
        return [place() if isinstance(place, weakref.ref) else place for place in self.places.values()]

    def _plain(self, value: Any, path: str) -> Node | None:
        before = len(self.arrays)
        try:
            encoded = values.encode(_untracked(value), self.arrays, np.asarray)
        except (values.NotPlainData, RecursionError):  # the second is of one that holds itself
            self._forget(before)
            return None
        if len(self.arrays) - before > _MOST_ARRAYS:
            self._forget(before)
            self.opaque[path] = None
            return {"kind": "opaque", "class": type(value).__name__}
        new = list(itertools.islice(reversed(self.arrays), len(self.arrays) - before))
        if sum(self.arrays[name].nbytes for name in new) >= _LARGE_BYTES:
            texts = re.sub(r'"value-[0-9]+"', "", json.dumps(encoded))
            self.prints[path] = _digest(texts, {name: self.arrays[name] for name in new})
            if self.began_prints.get(path) == self.prints[path]:
                self._forget(before)
                return {"kind": "fixed"}
        for name in new:
            self.arrays[name] = self.take(self.arrays[name])
        node: Node = {"kind": "plain", "plain": encoded}
        if isinstance(value, (*_PLACES, np.ndarray)) or values.is_record(value):
            self.places[path] = weakref.ref(value) if isinstance(value, np.ndarray) else value
            if _is_same(self.began.get(path), value):
                node["inPlace"] = True
                self.in_place.add(id(value))
        return node

    def _forget(self, before: int) -> None:
        while len(self.arrays) > before:
            self.arrays.popitem()

    def _items(self, kind: str, items: list[tuple[Any, Any]], whole: Any, path: str) -> Node:
        held = [self.at(value, f"{path}[{key!r}]") for key, value in items]
        return {
            "kind": kind,
            "class": type(whole).__name__,
            "keys": [repr(key) for key, _ in items],
            "items": held,
        }

    def _variables(self, owner: Any, found: list[Any], path: str) -> Node:
        own = [one for one in found if id(keras_state.inner(one)) not in self.known]
        named = {f"{PREFIX}{path}/{name}": one for name, one in keras_state.named(own).items()}
        self.variables |= named
        return {"kind": "variables", "names": list(named)} if named else _fixed(owner)

    def _random(self, value: Any) -> Node:
        return {"kind": "random", "state": values.encode(_state_of(value), self.arrays, self.take)}


@dataclass
class Back:
    """One putting back; `missing` gets what could not be."""

    arrays: Mapping[str, Array]
    known: Container[int] = frozenset()
    with_variables: bool = True
    missing: list[str] = field(default_factory=list)

    def attributes(self, owner: Any, nodes: Mapping[str, Node], path: str) -> None:
        """Of an object of the script's."""
        for name, node in nodes.items():
            there = getattr(owner, name, None)
            new = self.at(there, node, f"{path}.{name}")
            is_new = node["kind"] == "plain" and name not in vars(owner) and name not in _of_class(owner)
            if new is not there or is_new:
                setattr(owner, name, new)

    def at(self, there: Any, node: Node, path: str) -> Any:
        """What belongs there: what is there already, with what was put into it, or something new."""
        match node["kind"]:
            case "plain":
                return self._plain(there, node, path)
            case "variables":
                self._variables(there, node, path)
            case "random":
                self._random(there, node, path)
            case "object":
                if type(there).__name__ == node["class"]:
                    self.attributes(there, node["attributes"], path)
                else:
                    self.missing.append(path)
            case "fixed" if there is None and "class" in node:
                self.missing.append(path)
            case "function" if _called(there) != node["name"]:
                self.missing.append(path)
            case "call" if _called(there) != node["name"]:
                self.missing.append(path)
            case "list" | "dict" | "call":
                self._items(there, node, path)
        return there

    def _plain(self, there: Any, node: Node, path: str) -> Any:
        try:
            new = values.decode(node["plain"], self.arrays)
        except values.NotPlainData:
            self.missing.append(path)
            return there
        return there if node.get("inPlace") and _put_into(there, new) else new

    def _items(self, there: Any, node: Node, path: str) -> None:
        found: list[tuple[Any, Any]] = []
        if node["kind"] == "call":
            found = list(enumerate(_parts(there)))
        elif isinstance(there, dict):
            found = list(there.items())
        elif isinstance(there, list | tuple | deque):
            found = list(enumerate(there))
        if type(there).__name__ != node["class"] or [repr(key) for key, _ in found] != node["keys"]:
            self.missing.append(path)
            return
        for (key, value), inner in zip(found, node["items"], strict=True):
            new = self.at(value, inner, f"{path}[{key!r}]")
            if new is value:
                continue
            if isinstance(there, list | dict | deque):
                there[key] = new
            elif not _is_equal(new, value):
                self.missing.append(f"{path}[{key!r}]")

    def _variables(self, there: Any, node: Node, path: str) -> None:
        if not self.with_variables:
            return
        own = [one for one in _variables_of(there) or () if id(keras_state.inner(one)) not in self.known]
        targets = {f"{PREFIX}{path}/{name}": one for name, one in keras_state.named(own).items()}
        pairs = keras_state.paired(list(targets), node["names"])
        for target, saved in pairs:
            keras_state.assign(targets[target], self.arrays[saved])
        if len(pairs) < max(len(targets), len(node["names"])):
            self.missing.append(path)

    def _random(self, there: Any, node: Node, path: str) -> None:
        state = values.decode(node["state"], self.arrays)
        match there:
            case random.Random():
                there.setstate(state)
            case np.random.RandomState():
                there.set_state(state)
            case np.random.Generator():
                there.bit_generator.state = state
            case _:
                self.missing.append(path)


def print_of(look: Look, node: Any) -> int:
    """Of all that a look has found: the same as long as nothing of it changes, in one process."""
    digest = _digest([node, sorted(look.opaque.items())], look.arrays)
    for variable in look.variables.values():
        digest = zlib.crc32(np.ascontiguousarray(variable.numpy()).tobytes(), digest)
    return digest


def is_fixed(value: Any) -> bool:
    """Whether it has no state that the training could change, or that matters to it."""
    if isinstance(value, _FIXED_TYPES):
        return True
    if isinstance(value, io.TextIOBase) and value in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        return True
    if is_fixed_class(type(value)):
        return True
    of_keras = type(value).__module__.startswith("keras.")
    return of_keras and not isinstance(value, keras.callbacks.Callback | dict | list | set)


def _fixed(value: Any) -> Node:
    """With its class, where the training may miss it if it is not there at all."""
    is_shown = is_fixed_class(type(value)) or isinstance(value, _SHOW)
    return {"kind": "fixed"} | ({} if is_shown else {"class": type(value).__name__})


def is_fixed_class(kind: type) -> bool:
    """Whether it is of a package that shows and logs."""
    return kind.__module__.partition(".")[0] in _FIXED_MODULES


def is_walked(value: Any) -> bool:
    """Whether all of its state is its attributes, and they may be set."""
    kind = type(value)
    if kind in (SimpleNamespace, argparse.Namespace) or isinstance(value, keras.callbacks.Callback):
        return True
    # One that is made of something else than Python has more than a place for attributes and weak references.
    is_of_python = not kind.__itemsize__ and kind.__basicsize__ <= object.__basicsize__ + _TWO_POINTERS
    return is_of_python and hasattr(value, "__dict__") and is_of_script(kind)


def _variables_of(value: Any) -> list[Any] | None:
    if isinstance(value, keras.Model):
        return keras_state.variables(value)
    if isinstance(value, keras.Layer | keras.Metric | BaseOptimizer | tf.Module):
        return list(value.variables)
    if isinstance(value, tf.Variable | keras.Variable):
        return [value]
    if isinstance(value, tf.random.Generator | SeedGenerator):
        return [value.state]
    return None


def _of_class(owner: Any) -> dict[str, Any]:
    return {
        name: value
        for kind in reversed(type(owner).__mro__)
        if is_of_script(kind)
        for name, value in vars(kind).items()
        if isinstance(value, _PLACES) and not name.startswith("__")
    }


def _parts(call: Any) -> list[Any]:
    """What a method, or a partial call, is bound to."""
    if isinstance(call, MethodType):
        return [call.__self__]
    return [call.func, *call.args, *call.keywords.values()] if isinstance(call, partial) else []


def _called(value: Any) -> str:
    """Whose function it is: a callback may have another one in each of its phases."""
    while isinstance(value, partial):
        value = value.func
    return str(getattr(value, "__qualname__", ""))


def _untracked(value: Any) -> Any:
    """Without the containers that Keras puts in the place of those that a layer was given."""
    if not isinstance(value, list | dict | set) or not type(value).__module__.startswith("keras."):
        return value
    if isinstance(value, dict):
        kind = OrderedDict if isinstance(value, OrderedDict) else dict
        return kind((key, _untracked(held)) for key, held in value.items())
    return [_untracked(held) for held in value] if isinstance(value, list) else set(value)


def _put_into(there: Any, new: Any) -> bool:
    """Whether it could be changed in its place."""
    if isinstance(new, np.ndarray):
        if not isinstance(there, np.ndarray) or (there.shape, there.dtype) != (new.shape, new.dtype):
            return False
        if not there.flags.writeable:
            return False
        there[...] = new
        return True
    if values.is_record(new):
        if type(there) is not type(new):
            return False
        for name, value in values.fields_of(new).items():
            object.__setattr__(there, name, value)
        return True
    if not isinstance(there, type(new)) or getattr(there, "maxlen", None) != getattr(new, "maxlen", None):
        return False
    there.clear()
    if isinstance(there, dict | set):
        there.update(new)
    else:
        there.extend(new)
    return True


def _is_same(began: Any, value: Any) -> bool:
    return (began() if isinstance(began, weakref.ref) else began) is value


def _is_equal(one: Any, other: Any) -> bool:
    arrays: tuple[dict[str, Array], dict[str, Array]] = ({}, {})
    try:
        encoded = [values.encode(value, held, np.asarray) for value, held in zip((one, other), arrays, strict=True)]
    except values.NotPlainData:
        return False
    return _digest(encoded[0], arrays[0]) == _digest(encoded[1], arrays[1])


def _state_of(generator: Any) -> Any:
    if isinstance(generator, random.Random):
        return generator.getstate()
    if isinstance(generator, np.random.RandomState):
        return generator.get_state(legacy=False)
    return generator.bit_generator.state


def _digest(node: Any, arrays: Mapping[str, Array]) -> int:
    digest = zlib.crc32(json.dumps(node, sort_keys=True).encode())
    for array in arrays.values():
        flat = np.ascontiguousarray(array).reshape(-1)
        sampled = flat[:: max(1, array.size // _MOST_SAMPLED)]  # a row of a table is still seen
        digest = zlib.crc32(np.ascontiguousarray(sampled).view(np.uint8).data, digest)
    return digest


class _Printing:
    """A file that keeps nothing, and has an end."""

    def __init__(self) -> None:
        self.digest = 0
        self._left = _MOST_PICKLED_BYTES

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        self._left -= size
        if self._left < 0:
            raise OverflowError
        self.digest = zlib.crc32(data, self.digest)
        return size


def _pickled(value: Any) -> int | None:
    """The print of what pickle would write of it, which is never read; None where that is nothing."""
    file = _Printing()
    try:
        pickle.Pickler(file, pickle.HIGHEST_PROTOCOL).dump(value)
    except Exception:  # noqa: BLE001 - of an object that we know nothing of: whatever it raises
        return None
    return file.digest
