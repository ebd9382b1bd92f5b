"""The variables of a model in training, and the attributes of its callbacks: what a checkpoint holds of them, and
putting it back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.src.optimizers.base_optimizer import BaseOptimizer

from headrace_trainer.adapters import values
from headrace_trainer.adapters.arrays import Array
from headrace_trainer.adapters.checkpoint import Arrays, CheckpointError
from headrace_trainer.adapters.keras.random import global_seed_state

# What a callback holds of the run that it is in; set again by Keras.
_RUN_ATTRIBUTES = frozenset({"_model", "model", "params", "validation_data"})
_COMPARISONS = {"less": keras.ops.less, "greater": keras.ops.greater}


def variables(model: Any) -> list[Any]:
    """All variables that training changes, each once: weights, seed generators, metrics, the optimizer's, what the
    model and its layers hold beside them (the optimizers of a GAN, plain tf.Variables, what a stateful layer keeps of
    the batch before), Keras' global seed.
    """
    return variables_of([model])


def variables_of(models: Iterable[Any], others: Iterable[Any] = ()) -> list[Any]:
    """Those of several models, and others."""
    everything: list[Any] = []
    for model in models:
        everything += [*model.variables, *model.metrics_variables]
        optimizer = getattr(model, "optimizer", None)  # one that was never compiled has no such attribute
        if optimizer is not None:
            everything += optimizer.variables
        for value in _attributes(model):
            if isinstance(value, BaseOptimizer | tf.Module):
                everything += value.variables
            elif isinstance(value, tf.Variable | keras.Variable):
                everything.append(value)
            elif isinstance(value, tf.random.Generator):
                everything.append(value.state)
    everything += others
    seed = global_seed_state()
    if seed is not None:
        everything.append(seed)
    # One of Keras' holds one of TensorFlow's: that must not be there for itself, too.
    found: dict[int, Any] = {}
    for variable in everything:
        found.setdefault(id(variable.value if isinstance(variable, keras.Variable) else variable), variable)
    return list(found.values())


def unkept(model: Any) -> list[str]:
    """The attributes of the script's own layers with a state that no checkpoint holds: lookup tables that change."""
    tables = (tf.lookup.experimental.MutableHashTable, tf.lookup.experimental.DenseHashTable)
    return sorted(
        {
            name
            for layer in model._flatten_layers()
            if not type(layer).__module__.startswith("keras.")
            for name, value in vars(layer).items()
            if isinstance(value, tables)
        }
    )


def _attributes(model: Any) -> Iterator[Any]:
    """What a model and its layers hold, and what is in the lists and dicts that they hold."""
    for layer in model._flatten_layers():
        for held in vars(layer).values():
            yield from _members(held)


def _members(held: Any) -> Iterable[Any]:
    if isinstance(held, list | tuple):
        return held
    return held.values() if isinstance(held, dict) else (held,)


def named_variables(model: Any) -> dict[str, Any]:
    """The variables by the names that their values have in a checkpoint."""
    return named(variables(model))


def named(targets: Iterable[Any]) -> dict[str, Any]:
    """Those variables, by the same names."""
    return {f"{_PREFIX}{index:06d}": variable for index, variable in enumerate(targets)}


def copy_metrics(model: Any) -> Arrays:
    """The values of those that an evaluation overwrites."""
    metrics = {id(variable) for variable in model.metrics_variables}
    return {
        name: np.array(variable.numpy()) for name, variable in named_variables(model).items() if id(variable) in metrics
    }


def load_variables(model: Any, arrays: Mapping[str, Array]) -> None:
    """Puts saved values back; raises CheckpointError where they are not those of this model."""
    load(variables(model), arrays)


def load(targets: Sequence[Any], arrays: Mapping[str, Array]) -> None:
    """Puts saved values back; raises CheckpointError where they are not those of these variables."""
    saved = sorted(name for name in arrays if name.startswith(_PREFIX))
    if len(targets) != len(saved):
        raise CheckpointError(
            f"the checkpoint holds {len(saved)} variables and the model has {len(targets)}: "
            "the script has changed since it was taken"
        )
    for variable, saved_name in zip(targets, saved, strict=True):
        value = arrays[saved_name]  # one at a time: they lie on the disk
        if tuple(variable.shape) != value.shape:
            name = getattr(variable, "path", variable.name)
            raise CheckpointError(
                f"{name} has shape {tuple(variable.shape)} and {value.shape} in the checkpoint: "
                "the script has changed since it was taken"
            )
        # numpy keeps types that it does not know (bfloat16) as raw bytes.
        variable.assign(value.view(variable.numpy().dtype) if value.dtype.kind == "V" else value)


def callback_states(callbacks: Iterable[Any], arrays: Arrays) -> list[dict[str, Any]]:
    """The plain attributes of each callback, and the direction of those that monitor a metric."""
    return [
        {
            "class": type(callback).__name__,
            "attributes": values.plain_attributes(callback, arrays),
            "comparison": _comparison(callback),
        }
        for callback in callbacks
    ]


def restore_callbacks(callbacks: Sequence[Any], states: Sequence[dict[str, Any]], arrays: Mapping[str, Array]) -> None:
    """Puts attributes back; a callback of another class is left as it is."""
    for callback, state in zip(callbacks, states, strict=False):
        if type(callback).__name__ != state["class"]:
            continue
        for name, value in state["attributes"].items():
            if name not in _RUN_ATTRIBUTES:
                setattr(callback, name, values.decode(value, arrays))
        if state["comparison"] is not None:
            callback.monitor_op = _COMPARISONS[state["comparison"]]
        if isinstance(callback, keras.callbacks.CSVLogger) and callback.keys is not None:
            # Its file has come back with its header.
            callback.append_header = False


def _comparison(callback: Any) -> str | None:
    """Keras finds the direction at the end of the first epoch, and turns the sign of min_delta with it: once only."""
    chosen = getattr(callback, "monitor_op", None)
    return next((name for name, function in _COMPARISONS.items() if function is chosen), None)


_PREFIX = "variable-"
