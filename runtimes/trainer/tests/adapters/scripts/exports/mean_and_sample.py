"""A mean, and a sample around it by TensorFlow's own generator: one output of two is another in each call."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers


class Sample(layers.Layer):
    """Draws, at inference too."""

    def call(self, mean):
        return mean + tf.random.normal(tf.shape(mean))


rng = np.random.default_rng(0)
x = rng.normal(size=(256, 8)).astype("float32")
y = x.sum(axis=1, keepdims=True)
inputs = keras.Input((8,), name="x")
mean = layers.Dense(1, name="mean")(inputs)
model = keras.Model(inputs, [mean, Sample(name="sample")(mean)])
model.compile("adam", ["mse", "mse"])
model.fit(x, [y, y], batch_size=32, epochs=1)
