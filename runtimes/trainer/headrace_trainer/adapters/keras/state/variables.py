"""The variables of a model in training: what a checkpoint holds of them, and putting it back."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.src.optimizers.base_optimizer import BaseOptimizer
from tensorflow.python.ops.resource_variable_ops import BaseResourceVariable

from headrace_trainer.adapters.arrays import Array
from headrace_trainer.adapters.checkpoint import Arrays, CheckpointError

PREFIX = "variable-"  # of the names that values of variables have in a checkpoint


def variables(model: Any) -> list[Any]:
    """All variables that training changes, each once: weights, seed generators, metrics, the optimizer's, what the
    model and its layers hold beside them (the optimizers of a GAN, plain tf.Variables, what a stateful layer keeps of
    the batch before). Keras' global seed is with the other generators of random numbers.
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
    # One of Keras' holds one of TensorFlow's: that must not be there for itself, too.
    found: dict[int, Any] = {}
    for variable in everything:
        found.setdefault(id(inner(variable)), variable)
    return list(found.values())


def inner(variable: Any) -> Any:
    """TensorFlow's own, of one of Keras'."""
    return variable.value if isinstance(variable, keras.Variable) else variable


def steps_of(optimizer: Any) -> Any:
    """The variable that counts how often it was applied. What it says of its iterations is another number, and no
    variable, where it accumulates gradients.
    """
    return getattr(optimizer, "inner_optimizer", optimizer)._iterations


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
    """Those variables, by the same names: a second one of a name has a number after it."""
    found: dict[str, Any] = {}
    for variable in targets:
        name = path = f"{PREFIX}{_path(variable)}"
        count = 1
        while name in found:
            count += 1
            name = f"{path}#{count}"
        found[name] = variable
    return found


def copy_metrics(model: Any) -> Arrays:
    """The values of those that an evaluation overwrites."""
    metrics = {id(variable) for variable in model.metrics_variables}
    return {
        name: np.array(variable.numpy()) for name, variable in named_variables(model).items() if id(variable) in metrics
    }


def load_variables(model: Any, arrays: Mapping[str, Array]) -> str:
    """Puts saved values back; the result names what could not be, because it is not there in one of the two: a callback
    may make a variable at any time. Raises CheckpointError where the values are not those of this model.
    """
    targets = named(variables(model))
    pairs = paired(list(targets), _saved(arrays))
    gone = [name for name in _saved(arrays) if name not in {saved for _, saved in pairs}]
    new = [name for name in targets if name not in {target for target, _ in pairs}]
    if gone and new:
        raise CheckpointError(
            f"the checkpoint holds {_shown(gone)}, and the model has {_shown(new)}: "
            "the script has changed since it was taken"
        )
    for target, saved in pairs:
        assign(targets[target], arrays[saved])  # one at a time: they lie on the disk
    if gone:
        return f"the checkpoint holds {_shown(gone)}, which has not been made so far"
    return f"{_shown(new)} had not been made when the checkpoint was taken" if new else ""


def paired(targets: Sequence[str], saved: Sequence[str]) -> list[tuple[str, str]]:
    """Which of ours is which of a checkpoint's. Names have numbers in them, by how many there were before, which may be
    more in this attempt: of names that are alike without them the order decides, if there are as many.
    """
    alike: dict[str, tuple[list[str], list[str]]] = {}
    for side, names in enumerate((targets, saved)):
        for name in names:
            alike.setdefault(_NUMBERS.sub("", name), ([], []))[side].append(name)
    pairs: list[tuple[str, str]] = []
    for ours, theirs in alike.values():
        same = sorted(set(ours) & set(theirs))
        pairs += zip(ours, theirs, strict=True) if len(ours) == len(theirs) else zip(same, same, strict=True)
    return pairs


def load(targets: Sequence[Any], arrays: Mapping[str, Array]) -> None:
    """Puts saved values back, in their order; raises CheckpointError where they are not those of these variables."""
    saved = _saved(arrays)
    if len(targets) != len(saved):
        raise CheckpointError(
            f"the checkpoint holds {len(saved)} variables and the model has {len(targets)}: "
            "the script has changed since it was taken"
        )
    for variable, name in zip(targets, saved, strict=True):
        assign(variable, arrays[name])  # one at a time: they lie on the disk


def assign(variable: Any, value: Array) -> None:
    """Raises CheckpointError where it is not one of this variable's."""
    if tuple(variable.shape) != value.shape:
        raise CheckpointError(
            f"{_path(variable)} has shape {tuple(variable.shape)} and {value.shape} in the checkpoint: "
            "the script has changed since it was taken"
        )
    # numpy keeps types that it does not know (bfloat16) as raw bytes.
    _put(variable, value.view(tf.as_dtype(variable.dtype).as_numpy_dtype) if value.dtype.kind == "V" else value)


def _put(variable: Any, value: Array) -> None:
    """A large value goes in part by part: on its way into a variable TensorFlow makes a copy of what it is given. One
    that lies on several devices (MirroredStrategy) takes it as a whole.
    """
    held = inner(variable)
    if value.nbytes <= _PART_BYTES or not value.ndim or not isinstance(held, BaseResourceVariable):
        variable.assign(value)
        return
    rows = max(1, _PART_BYTES * len(value) // value.nbytes)
    for begin in range(0, len(value), rows):
        held[begin : begin + rows].assign(value[begin : begin + rows])


def _saved(arrays: Mapping[str, Array]) -> list[str]:
    return [name for name in arrays if name.startswith(PREFIX)]


def _path(variable: Any) -> str:
    return str(getattr(variable, "path", variable.name))


def _shown(names: Sequence[str]) -> str:
    first = [name.removeprefix(PREFIX) for name in names[:_NAMES_SHOWN]]
    return ", ".join(first) + (f" and {len(names) - len(first)} more" if len(names) > len(first) else "")


_PART_BYTES = 8 << 20
_NUMBERS = re.compile(r"_\d+(?=[/#:]|$)|#\d+$")
_NAMES_SHOWN = 5
