"""The state of every global generator of random numbers, as plain values, and back.

Taken with each checkpoint, and put back where the training goes on, or a fit is skipped. Where the data itself draws in
Python while it is gone through again, those generators are where the data has brought them; then it is looked at
whether that is where they were (recorder).
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
from keras.src.backend.common import global_state
from keras.src.random.seed_generator import GLOBAL_SEED_GENERATOR, SeedGenerator
from tensorflow.python.eager import context


def global_seed_state() -> Any | None:
    """The variable behind Keras' own global generator, None before its first use."""
    generator = global_state.get_global_attribute(GLOBAL_SEED_GENERATOR)
    return None if generator is None else generator.state


def capture() -> dict[str, Any]:
    """The generators of Python, numpy, TensorFlow and Keras as values for `values.encode`."""
    tensorflow = context.context()
    keras_state = global_seed_state()
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state(legacy=False),
        "tensorflowSeed": tensorflow._seed,
        "tensorflow": tensorflow._rng.getstate(),
        "keras": None if keras_state is None else np.array(keras_state.numpy()),
    }


def restore(state: dict[str, Any]) -> None:
    """Puts back what `capture` took."""
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])
    restore_frameworks(state)


def restore_frameworks(state: dict[str, Any]) -> None:
    """TensorFlow's and Keras' only. Keras' is made at its first use: one that was not there yet is made anew then."""
    tensorflow = context.context()
    if tensorflow._seed != state["tensorflowSeed"]:  # it clears all compiled kernels, those of the training too
        tensorflow._set_global_seed(state["tensorflowSeed"])
    tensorflow._rng.setstate(state["tensorflow"])
    if state["keras"] is None:
        global_state.set_global_attribute(GLOBAL_SEED_GENERATOR, None)
        return
    if global_seed_state() is None:
        global_state.set_global_attribute(GLOBAL_SEED_GENERATOR, SeedGenerator(seed=0))
    global_seed_state().assign(state["keras"])  # type: ignore[union-attr]


def of_python() -> tuple[Any, ...]:
    """Where Python's and numpy's stand, to be compared: both are drawn from by the script's own code."""
    return _comparable(random.getstate(), np.random.get_state(legacy=False))


def of_python_in(state: dict[str, Any]) -> tuple[Any, ...]:
    """Where they stood when `capture` took this."""
    return _comparable(state["python"], state["numpy"])


def _comparable(python: Any, numpy: Any) -> tuple[Any, ...]:
    inner = {
        name: value.tobytes() if isinstance(value, np.ndarray) else value for name, value in numpy["state"].items()
    }
    return python, inner, {name: value for name, value in numpy.items() if name != "state"}
