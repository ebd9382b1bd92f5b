"""train_on_batch, without a fit; then an end with a code of its own."""

import sys

import keras
import numpy as np

x = np.ones((4, 3), "float32")
model = keras.Sequential([keras.layers.Dense(1)])
model.compile("sgd", "mse")
for _ in range(3):
    model.train_on_batch(x, x[:, :1])
sys.exit(7)
