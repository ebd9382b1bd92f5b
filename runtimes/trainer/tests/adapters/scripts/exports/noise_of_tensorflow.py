"""Noise by TensorFlow's own generator: no two calls are equal."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers


class Noise(layers.Layer):
    """Adds noise, at inference too."""

    def call(self, inputs):
        return inputs + tf.random.normal(tf.shape(inputs))


rng = np.random.default_rng(0)
x = rng.normal(size=(256, 8)).astype("float32")
model = keras.Sequential([keras.Input((8,), name="x"), Noise(name="noise"), layers.Dense(1, name="y")])
model.compile("adam", "mse")
model.fit(x, x.sum(axis=1, keepdims=True), batch_size=32, epochs=1)
