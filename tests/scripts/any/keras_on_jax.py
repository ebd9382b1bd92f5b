"""Trains a small convolutional network with Keras on JAX and exports it as a SavedModel."""

import os

os.environ["KERAS_BACKEND"] = "jax"

import keras
import numpy as np
from keras import layers

import headrace_client as headrace

# Stripes of four directions.
rng = np.random.default_rng(0)
rows, cols = np.mgrid[0:16, 0:16]
y = rng.integers(0, 4, 4000)
angle = y * np.pi / 4 + rng.normal(0, 0.1, 4000)
phase = rng.uniform(0, 6, 4000)
along = np.cos(angle)[:, None, None] * rows + np.sin(angle)[:, None, None] * cols
x = (np.sin(along + phase[:, None, None]) + rng.normal(0, 0.3, (4000, 16, 16)))[..., None].astype("float32")

model = keras.Sequential(
    [
        keras.Input((16, 16, 1)),
        layers.Conv2D(16, 3, activation="relu"),
        layers.MaxPooling2D(),
        layers.Conv2D(32, 3, activation="relu"),
        layers.GlobalAveragePooling2D(),
        layers.Dropout(0.3),
        layers.Dense(4, activation="softmax"),
    ]
)
model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
report = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: headrace.log(logs, step=epoch + 1))
model.fit(x[:3500], y[:3500], epochs=10, batch_size=64, validation_data=(x[3500:], y[3500:]), callbacks=[report])

model.export("stripes", format="tf_saved_model")
headrace.export("stripes", format="TensorFlow")
