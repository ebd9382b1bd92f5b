"""mixed_bfloat16, as on a TPU or a recent GPU."""

import keras
import numpy as np
from keras import layers

keras.mixed_precision.set_global_policy("mixed_bfloat16")
rng = np.random.default_rng(0)
x = rng.normal(size=(256, 16)).astype("float32")
y = rng.integers(0, 3, size=256)
model = keras.Sequential(
    [
        keras.Input((16,), name="features"),
        layers.Dense(32, activation="relu"),
        layers.Dense(3),
        layers.Activation("softmax", dtype="float32", name="probabilities"),
    ]
)
model.compile("adam", "sparse_categorical_crossentropy")
model.fit(x, y, batch_size=32, epochs=1)
