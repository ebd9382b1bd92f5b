"""Four fits of different kinds, each slow enough to be killed in the middle; at the end everything that training
leaves behind goes to a file.
"""

import json
import sys
import time

import keras
import numpy as np
import tensorflow as tf

rng = np.random.default_rng(1)
x = rng.normal(size=(320, 8)).astype("float32")
y = (x[:, 0] * x[:, 1] > 0).astype("int32")


class Slow(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        time.sleep(0.012)


def compiled(*layers):
    model = keras.Sequential([*layers, keras.layers.Dense(2, activation="softmax", name="probabilities")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


results = {}


def keep(name, model, history, **more):
    weights = [weight.tolist() for weight in model.get_weights()]
    steps = int(model.optimizer.iterations.numpy())
    results[name] = {"history": history.history, "epochs": history.epoch, "weights": weights, "steps": steps, **more}


# Arrays, shuffled, with dropout; the layers are built by the first batch.
arrays = compiled(keras.layers.Dense(16, activation="relu"), keras.layers.Dropout(0.3))
keep("arrays", arrays, arrays.fit(x, y, batch_size=16, epochs=4, callbacks=[Slow()]))

# The same model again, on a shuffled and repeated pipeline.
pipeline = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(100).batch(16).repeat()
keep("pipeline", arrays, arrays.fit(pipeline, steps_per_epoch=13, epochs=4, callbacks=[Slow()]))

# A validation split, and callbacks with a state of their own.
stopping = keras.callbacks.EarlyStopping(monitor="val_loss", patience=2, restore_best_weights=True)
slower = keras.callbacks.ReduceLROnPlateau(monitor="val_loss", patience=1, factor=0.5, min_delta=0.05)
split = compiled(keras.Input((8,)), keras.layers.Dense(32, activation="tanh"))
split.compile(keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy", metrics=["accuracy"])
history = split.fit(x, y, batch_size=16, epochs=9, validation_split=0.25, callbacks=[Slow(), stopping, slower])
keep("split", split, history, stopped=stopping.stopped_epoch, best=float(stopping.best), wait=slower.wait)


def batches():
    """Draws from numpy's global generator, as beginners' generators do."""
    for _ in range(20):
        chosen = np.random.permutation(320)[:16]
        yield x[chosen], y[chosen]


# A generator whose end Keras does not know in the first epoch.
data = tf.data.Dataset.from_generator(
    batches, output_signature=(tf.TensorSpec((None, 8), tf.float32), tf.TensorSpec((None,), tf.int32))
)
generated = compiled(keras.Input((8,), name="features"), keras.layers.Dense(8, activation="relu"))
keep("generated", generated, generated.fit(data, epochs=4, callbacks=[Slow()]))
keep("evaluated", generated, generated.history, evaluation=generated.evaluate(x, y))

with open(sys.argv[1].removeprefix("--result="), "w") as file:
    json.dump(results, file)
