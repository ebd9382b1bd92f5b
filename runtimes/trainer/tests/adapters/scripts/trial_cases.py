"""A short training whose model the export meets with trouble, of the kind that is asked for."""

import sys

import keras
import numpy as np
import tensorflow as tf

kind = sys.argv[1].removeprefix("--kind=")
x = np.random.default_rng(1).normal(size=(64, 8)).astype("float32")


class Doubt(keras.layers.Layer):
    """Draws random numbers when it is served, too, which ONNX cannot."""

    def __init__(self):
        super().__init__(name="doubt")
        self.seeds = keras.random.SeedGenerator(1)

    def call(self, inputs):
        return keras.random.dropout(inputs, 0.5, seed=self.seeds)


class TrainsOnly(keras.layers.Layer):
    """Fails where it is not trained."""

    def call(self, inputs, training=None):
        if training is False:
            raise ValueError("not built for serving")
        return inputs


class Remembers(keras.layers.Layer):
    """Keeps what it has seen in a table, which nothing can put back."""

    def build(self, shape):
        self.table = tf.lookup.experimental.MutableHashTable(tf.int64, tf.int64, 0)

    def call(self, inputs):
        keys = tf.constant([1], tf.int64)
        self.table.insert(keys, self.table.lookup(keys) + 1)
        return inputs


class Trainer(keras.Model):
    """Trains what hangs on it, and has no call."""

    def train_step(self, data):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(self.encoder(data[0]) - data[1]))
        self.optimizer.apply(tape.gradient(loss, self.encoder.trainable_variables), self.encoder.trainable_variables)
        return {"loss": loss}


layer = {"doubt": Doubt, "trains-only": TrainsOnly, "remembers": Remembers}.get(kind, lambda: keras.layers.Dropout(0.1))
model = keras.Sequential([keras.Input((8,)), layer(), keras.layers.Dense(1)])
if kind in ("one-part", "two-parts"):
    encoder, model = model, Trainer(name="trainer")
    model.encoder = encoder
    if kind == "two-parts":
        model.decoder = keras.Sequential([keras.Input((1,)), keras.layers.Dense(8)])
if kind == "large":
    from headrace_trainer.adapters.keras.export import trial

    trial.MAX_BYTES = 4 * (8 + 1) - 1
if kind == "twice":
    model.compile("sgd", "mse")
    model.fit(x, x[:, :1], epochs=2, batch_size=16)
model.compile("sgd", "mse")
model.fit(x, x[:, :1], epochs=2, batch_size=16)
