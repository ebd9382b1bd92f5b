"""mixed_float16 with outputs in float16: one step of the type is 0.5 at 600."""

import keras
import numpy as np
from keras import layers

keras.mixed_precision.set_global_policy("mixed_float16")
rng = np.random.default_rng(0)
x = rng.normal(size=(256, 16)).astype("float32")
y = 600 + 100 * x[:, :1]
model = keras.Sequential(
    [keras.Input((16,), name="sensors"), layers.Dense(32, activation="relu"), layers.Dense(1, name="watts")]
)
model.compile(keras.optimizers.Adam(0.1), "mse")
model.fit(x, y, batch_size=32, epochs=4)
