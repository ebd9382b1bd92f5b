"""Normalization of each pixel: what it has adapted is large."""

import keras
import numpy as np
from keras import layers

rng = np.random.default_rng(0)
x = rng.integers(0, 256, size=(256, 28, 28)).astype("float32")
y = rng.integers(0, 10, size=256)
normalize = layers.Normalization(axis=(1, 2))
normalize.adapt(x)
model = keras.Sequential(
    [keras.Input((28, 28), name="image"), normalize, layers.Flatten(), layers.Dense(10, name="digit")]
)
model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
model.fit(x, y, batch_size=32, epochs=1)
