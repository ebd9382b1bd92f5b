"""Inputs declared as a list, not in the order of the alphabet, and fed as a dict."""

import keras
import numpy as np
from keras import layers

rng = np.random.default_rng(0)
numeric = keras.Input((3,), name="numeric")
category = keras.Input((1,), name="category")
embedded = layers.Flatten()(layers.Embedding(5, 2)(category))
outputs = layers.Dense(1, name="price")(layers.concatenate([numeric, embedded]))
model = keras.Model([numeric, category], outputs)
model.compile("adam", "mse")
data = {"numeric": rng.normal(size=(256, 3)).astype("float32"), "category": rng.integers(0, 5, size=(256, 1))}
model.fit(data, rng.normal(size=(256, 1)).astype("float32"), batch_size=32, epochs=1)
