"""A batch that is part of the model: a matrix is built over its rows."""

import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(0)
x = rng.normal(size=(64, 6)).astype("float32")
y = x.sum(axis=1, keepdims=True)
inputs = keras.Input(batch_shape=(16, 6), name="team")
together = layers.Lambda(lambda rows: ops.reshape(rows, (16, 6)) - ops.mean(rows, axis=0, keepdims=True))(inputs)
model = keras.Model(inputs, layers.Dense(1, name="rating")(together))
model.compile("adam", "mse")
model.fit(x, y, batch_size=16, epochs=1)
