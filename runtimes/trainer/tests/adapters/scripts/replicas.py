"""Trains on --replicas=N in one process (0: without a strategy), --execution=N steps at once; what training leaves
behind goes to --result.
"""

import json
import sys
import time

import keras
import numpy as np
import tensorflow as tf

arguments = dict(argument.lstrip("-").split("=") for argument in sys.argv[1:])
replicas, execution = int(arguments["replicas"]), int(arguments["execution"])
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * max(replicas, 1))
devices = [device.name for device in tf.config.list_logical_devices("CPU")]
rng = np.random.RandomState(0)
x = rng.rand(320, 8).astype("float32")
y = (x.sum(1, keepdims=True) > 4).astype("float32")


class Slow(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        time.sleep(0.015 * execution)


class Measured(keras.Model):
    """Logs how many samples a replica gets at each step."""

    def train_step(self, data):
        return {**super().train_step(data), "samples": tf.cast(tf.shape(data[0])[0], tf.float32)}


keras.utils.set_random_seed(3)
strategy = tf.distribute.MirroredStrategy(devices) if replicas else tf.distribute.get_strategy()
with strategy.scope():
    inputs = keras.Input((8,))
    hidden = keras.layers.Dense(16, "relu")(inputs)
    model = Measured(inputs, keras.layers.Dense(1)(hidden))
    model.compile(keras.optimizers.Adam(0.01), "mse", metrics=["mae"], steps_per_execution=execution)
if arguments.get("data") == "pipeline":
    data = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(100).batch(16)
    history = model.fit(data, epochs=4, callbacks=[Slow()])
else:
    history = model.fit(x, y, batch_size=16, epochs=4, callbacks=[Slow()])
with open(arguments["result"], "w") as file:
    json.dump({"history": history.history, "weights": [weight.tolist() for weight in model.get_weights()]}, file)
