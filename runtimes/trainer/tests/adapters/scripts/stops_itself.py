"""Is told to stop at a place of its own choosing, such as --at=validation, and may find no further step after it
(--stall=epoch-begin or batch-begin). At its end, what training leaves behind goes to the file --result.
"""

import json
import os
import signal
import sys
import time

import keras
import numpy as np
import tensorflow as tf

arguments = dict(argument.lstrip("-").split("=") for argument in sys.argv[1:])
place, stalls = arguments.get("at"), arguments.get("stall")
rng = np.random.RandomState(0)
x = rng.rand(128, 8).astype("float32")
y = (x.sum(1, keepdims=True) > 4).astype("float32")


class Told(keras.callbacks.Callback):
    told = False

    def stop(self, at):
        if not self.told and place == at:
            self.told = True
            os.kill(os.getpid(), signal.SIGTERM)

    def stall(self, at):
        if self.told and stalls == at:
            time.sleep(60)

    def on_epoch_begin(self, epoch, logs=None):
        self.stall("epoch-begin")

    def on_train_batch_begin(self, batch, logs=None):
        self.stall("batch-begin")

    def on_train_batch_end(self, batch, logs=None):
        if place == "slow-step":
            time.sleep({3: 1.5, 4: 60}.get(batch, 0))
        if batch == 7:
            self.stop("last-batch")
        if batch == 3:
            self.stop("slow-step")
            self.stop("mid-epoch")

    def on_test_batch_end(self, batch, logs=None):
        if batch == 1:
            self.stop("validation")

    def on_epoch_end(self, epoch, logs=None):
        self.stop("epoch-end")


class OwnLogs(keras.Model):
    """Logs of its train step's own: they are nowhere but in what the step returned."""

    def train_step(self, data):
        return {**super().train_step(data), "twice": 2 * self.metrics[0].result()}


def unsized():
    """Data whose end Keras finds when it gets there."""
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(16).filter(lambda *_: True)


keras.utils.set_random_seed(3)
layers = [keras.layers.Dense(4, activation="relu"), keras.layers.Dropout(0.2), keras.layers.Dense(1, "sigmoid")]
if arguments.get("kind") == "own-logs":
    inputs = outputs = keras.Input((8,))
    for layer in layers:
        outputs = layer(outputs)
    model = OwnLogs(inputs, outputs)
else:
    model = keras.Sequential([keras.Input((8,)), *layers])
model.compile("adam", "binary_crossentropy", metrics=["accuracy", keras.metrics.AUC(name="auc")])
best = keras.callbacks.EarlyStopping(monitor="loss", patience=5)
common = {"epochs": 3, "verbose": 0, "callbacks": [best, Told()]}
if place == "validation" or arguments.get("validate"):
    common["validation_data"] = (x[:64], y[:64])
if arguments.get("kind") == "unsized":
    history = model.fit(unsized(), **common)
else:
    history = model.fit(x, y, batch_size=16, **common)
if "result" in arguments:
    with open(arguments["result"], "w") as file:
        weights = [weight.tolist() for weight in model.get_weights()]
        json.dump({"history": history.history, "epochs": history.epoch, "weights": weights, "best": best.best}, file)
