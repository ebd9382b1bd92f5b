"""A stateful layer in a Sequential without names."""

import keras
import numpy as np

rng = np.random.default_rng(0)
x = rng.normal(size=(32, 5, 2)).astype("float32")
y = x.sum(axis=(1, 2))[:, None]
model = keras.Sequential(
    [keras.Input(batch_shape=(4, 5, 2)), keras.layers.GRU(8, stateful=True), keras.layers.Dense(1)]
)
model.compile("adam", "mse")
model.fit(x, y, batch_size=4, epochs=2, shuffle=False)
