"""Data and small models for the scripts of scripts/models."""

import os
from pathlib import Path

import keras
import numpy as np

random = np.random.default_rng(0)
x = random.normal(size=(96, 4)).astype("float32")
y = (x.sum(axis=1, keepdims=True) > 0).astype("float32")
# Files that were there before the job, for the scripts that read such.
EXISTING = Path(os.environ.get("EXISTING_MODELS", "/nowhere"))
training, validation = (x[:64], y[:64]), (x[64:], y[64:])


def build(name=None, units=4, rate=0.01):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(units), keras.layers.Dense(1)], name=name)
    # Which model is meant does not hang on its steps' being compiled, which takes longer than all of them.
    model.compile(keras.optimizers.Adam(rate), "mse", metrics=["mae"], run_eagerly=True)
    return model
