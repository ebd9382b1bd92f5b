"""Five valid convolutions with pooling: images below 94 pixels have nothing left. Fed by a generator."""

import keras
import numpy as np
from keras import layers


def batches():
    rng = np.random.default_rng(0)
    while True:
        yield rng.uniform(size=(4, 128, 128, 3)).astype("float32"), rng.integers(0, 2, size=(4, 1)).astype("float32")


inputs = keras.Input((None, None, 3), name="image")
x = inputs
for filters in (4, 4, 8, 8, 8):
    x = layers.MaxPooling2D()(layers.Conv2D(filters, 3, activation="relu")(x))
outputs = layers.Dense(1, activation="sigmoid", name="cat")(layers.GlobalAveragePooling2D()(x))
model = keras.Model(inputs, outputs)
model.compile("adam", "binary_crossentropy")
model.fit(batches(), steps_per_epoch=4, epochs=1)
