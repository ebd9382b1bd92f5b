"""The state of every global generator of random numbers, as plain values, and back.

Taken at the end of a fit and put back where a resumed script skips that fit; in the middle of a fit nothing is put
back, because the replayed input pipeline draws its numbers again by itself.
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
    tensorflow = context.context()
    tensorflow._set_global_seed(state["tensorflowSeed"])
    tensorflow._rng.setstate(state["tensorflow"])
    if state["keras"] is not None:
        if global_seed_state() is None:
            global_state.set_global_attribute(GLOBAL_SEED_GENERATOR, SeedGenerator(seed=0))
        global_seed_state().assign(state["keras"])  # type: ignore[union-attr]
