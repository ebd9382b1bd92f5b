"""Monte Carlo dropout: the answers are random on purpose, from a seed of Keras'."""

import keras
import numpy as np
from keras import layers


class Doubt(layers.Layer):
    """Drops half of its inputs, at inference too."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator(7)

    def call(self, inputs):
        return keras.random.dropout(inputs, 0.5, seed=self.seed_generator)


rng = np.random.default_rng(0)
x = rng.normal(size=(256, 8)).astype("float32")
inputs = keras.Input((8,), name="x")
hidden = Doubt(name="doubt")(layers.Dense(16, activation="relu")(inputs))
model = keras.Model(inputs, layers.Dense(1, name="y")(hidden))
model.compile("adam", "mse")
model.fit(x, x.sum(axis=1, keepdims=True), batch_size=32, epochs=1)
