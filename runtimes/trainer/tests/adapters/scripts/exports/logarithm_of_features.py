"""A model that takes positive numbers only, fed by tf.data."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

rng = np.random.default_rng(0)
x = rng.lognormal(3.0, 1.0, size=(512, 5)).astype("float32")
y = np.log(x).sum(axis=1, keepdims=True).astype("float32")
data = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(512).batch(32)
inputs = keras.Input((5,), name="amounts")
logged = layers.Lambda(lambda values: ops.log(values), name="log")(inputs)
model = keras.Model(inputs, layers.Dense(1, name="score")(logged))
model.compile("adam", "mse")
model.fit(data, epochs=2)
