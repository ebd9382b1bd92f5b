"""Trains a regression with fit() and an own train_step that clips the gradients."""

import os

os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
import tensorflow as tf
from keras import layers

loss_tracker = keras.metrics.Mean(name="loss")
mae_metric = keras.metrics.MeanAbsoluteError(name="mae")
gradient_norm = keras.metrics.Mean(name="gradient_norm")


class ClippedModel(keras.Model):
    def train_step(self, data):
        x, y = data

        with tf.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = keras.losses.mean_squared_error(y, y_pred)
            loss = tf.reduce_mean(loss)

        gradients = tape.gradient(loss, self.trainable_weights)
        gradients, norm = tf.clip_by_global_norm(gradients, 5.0)
        self.optimizer.apply(gradients, self.trainable_weights)

        loss_tracker.update_state(loss)
        mae_metric.update_state(y, y_pred)
        gradient_norm.update_state(norm)
        return {metric.name: metric.result() for metric in self.metrics}

    def test_step(self, data):
        x, y = data
        y_pred = self(x, training=False)
        loss_tracker.update_state(tf.reduce_mean(keras.losses.mean_squared_error(y, y_pred)))
        mae_metric.update_state(y, y_pred)
        return {"loss": loss_tracker.result(), "mae": mae_metric.result()}

    @property
    def metrics(self):
        # fit() and evaluate() call reset_state() on these at each epoch.
        return [loss_tracker, mae_metric, gradient_norm]


# The energy that a heat pump uses, from 32 sensor readings.
x = np.random.normal(size=(5120, 32)).astype("float32")
weights = np.random.normal(size=(32, 1))
y = np.tanh(x @ weights) * 2 + 0.5 * x[:, :1] * x[:, 1:2] + np.random.normal(0, 0.1, size=(5120, 1))
y = y.astype("float32")

inputs = keras.Input(shape=(32,))
hidden = layers.Dense(192, activation="relu")(inputs)
hidden = layers.Dense(192, activation="relu")(hidden)
hidden = layers.Dense(96, activation="relu")(hidden)
outputs = layers.Dense(1)(hidden)
model = ClippedModel(inputs, outputs)

# No loss or metrics here: train_step has its own.
model.compile(optimizer=keras.optimizers.Adam(1e-3))
model.fit(x[:4096], y[:4096], batch_size=128, epochs=12)

print(model.evaluate(x[4096:], y[4096:], return_dict=True))
