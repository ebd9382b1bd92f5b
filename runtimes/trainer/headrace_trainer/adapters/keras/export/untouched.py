"""What an early trial of the export may touch is left, or put back, as it was: the training after it is the one without
it, bit for bit.

The model is run as a traced function only: operations that draw random numbers have a state of their own there, where
one that ran eagerly would share it with the script's. TensorFlow's and Keras' draws of seeds are led to generators of
our own, in this thread only: the data may be drawing in others. For the same reason Python's and numpy's generators
are put back by the caller only where no other thread may draw from them.
"""

from __future__ import annotations

import contextlib
import os
import random
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from keras.src.backend.common import global_state
from keras.src.random import seed_generator
from tensorflow.python.eager import context
from tensorflow.python.framework import auto_control_deps_utils

from headrace_trainer.adapters.keras.export.servable import ExportError
from headrace_trainer.adapters.keras.fits.data import PYTHON_OPERATIONS

_FUNCTIONS = ("train_function", "test_function", "predict_function")
_NAME_COUNTERS = "object_name_uids"
_TABLE_READS = frozenset({"LookupTableFindV2", "LookupTableSizeV2", "LookupTableExportV2"})
_OUR_SEED = 1


class NotTried(ExportError):
    """A trial would cost too much, or change what cannot be put back."""


@contextlib.contextmanager
def untouched(model: Any) -> Iterator[None]:
    """What is done inside, in this thread, changes nothing of a training of this model."""
    with _compiled_functions(model), _keras_state(), _seeds_of_keras(), _seeds_of_tensorflow(), _environment():
        yield


@contextlib.contextmanager
def generators_put_back() -> Iterator[None]:
    """Python's and numpy's global generators, which the script's layers may draw from. No other thread may draw."""
    python, numpy = random.getstate(), np.random.get_state(legacy=False)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


@contextlib.contextmanager
def variables_put_back(traced: Any) -> Iterator[None]:
    """What the traced function writes to when it is run: seeds, counters. Raises NotTried before anything runs."""
    written = _written_by(traced.graph)
    before = [np.array(variable.numpy()) for variable in written]
    try:
        yield
    finally:
        for variable, value in zip(written, before, strict=True):
            variable.assign(value)


def _written_by(graph: Any) -> list[Any]:
    definition = graph.as_graph_def()
    nodes = [*definition.node, *(node for function in definition.library.function for node in function.node_def)]
    if any(node.op in PYTHON_OPERATIONS for node in nodes):
        raise NotTried("it runs Python code of the script (py_function)")
    touched: set[int] = set()
    for operation in graph.get_operations():
        if operation.type not in _TABLE_READS:
            _, writes = auto_control_deps_utils.get_read_write_resource_inputs(operation)
            touched |= {id(handle) for handle in writes}
    outside = [handle for handle, inside in graph.captures if id(inside) in touched]
    known = {id(variable.handle): variable for variable in graph.variables}
    if any(id(handle) not in known for handle in outside):
        raise NotTried("it changes something that is no variable, such as a lookup table")
    return [known[id(handle)] for handle in outside]


@contextlib.contextmanager
def _compiled_functions(model: Any) -> Iterator[None]:
    """A SavedModel is written without them: Keras takes them off meanwhile."""
    models = [layer for layer in model._flatten_layers() if isinstance(layer, keras.Model)]
    before = [(one, name, getattr(one, name, None)) for one in models for name in _FUNCTIONS]
    try:
        yield
    finally:
        for one, name, function in before:
            if getattr(one, name, None) is not function:
                setattr(one, name, function)


@contextlib.contextmanager
def _keras_state() -> Iterator[None]:
    """Keras' global state, which is this thread's: how many names were given, its generator of seeds."""
    state = vars(global_state.GLOBAL_STATE_TRACKER)
    before = dict(state)
    if _NAME_COUNTERS in before:
        before[_NAME_COUNTERS] = before[_NAME_COUNTERS].copy()
    try:
        yield
    finally:
        state.clear()
        state.update(before)


@contextlib.contextmanager
def _seeds_of_keras() -> Iterator[None]:
    """A layer or an initializer without a seed draws one from Python's generator when it is made."""
    original = seed_generator.make_default_seed
    ours = random.Random(_OUR_SEED)
    draw = _here(lambda: ours.randint(1, int(1e9)), original)
    modules = [
        module
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] == "keras" and vars(module).get("make_default_seed") is original
    ]
    for module in modules:
        vars(module)["make_default_seed"] = draw
    try:
        yield
    finally:
        for module in modules:
            vars(module)["make_default_seed"] = original


@contextlib.contextmanager
def _seeds_of_tensorflow() -> Iterator[None]:
    """The context's own setters would clear its caches, and with them the state of the script's random operations."""
    tensorflow = context.context()
    original = tensorflow._rng
    tensorflow._rng = _Draws(_here(random.Random(_OUR_SEED).randint, original.randint))
    try:
        yield
    finally:
        tensorflow._rng = original


class _Draws:
    """Stands in for the context's generator, of which this method only is asked."""

    def __init__(self, randint: Callable[[int, int], int]) -> None:
        self.randint = randint


def _here(ours: Callable[..., int], others: Callable[..., int]) -> Callable[..., int]:
    """The first in this thread, the second in all others."""
    here = threading.get_ident()
    return lambda *arguments: (ours if threading.get_ident() == here else others)(*arguments)


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    """The import of tf2onnx quietens the log of processes that the script may start."""
    name = "TF_CPP_MIN_LOG_LEVEL"
    before = os.environ.get(name)
    try:
        yield
    finally:
        if before is not None:
            os.environ[name] = before
        else:
            os.environ.pop(name, None)
