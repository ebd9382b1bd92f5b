"""One training of each kind whose numbers a trial of the export could disturb; afterwards everything that training
leaves behind, and what each generator of random numbers gives next, goes to a file. It ends with 3, so that nothing
is exported at its end.
"""

import json
import os
import random
import sys
import time

import keras
import numpy as np
import tensorflow as tf

rng = np.random.default_rng(1)
x = rng.normal(size=(96, 8)).astype("float32")
y = (x[:, 0] * x[:, 1] > 0).astype("int32")
images = rng.uniform(size=(96, 8, 8, 3)).astype("float32")
windows = rng.normal(size=(96, 5, 4)).astype("float32")
traces = []
TRIAL = f"{os.environ['HEADRACE_EXPORT_DIR']}-trial"


class Counter(keras.layers.Layer):
    """Counts its calls, draws from TensorFlow's own generator, and from a constant seed."""

    def build(self, shape):
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False, name="calls")
        self.generator = tf.random.Generator.from_seed(3)

    def call(self, inputs):
        self.calls.assign_add(1.0)
        noise = tf.random.normal(tf.shape(inputs)) + tf.random.normal(tf.shape(inputs), seed=5)
        return inputs + 0.01 * (noise + self.generator.normal(tf.shape(inputs)))


class Careless(keras.layers.Layer):
    """Draws from the global generators of Python and numpy whenever it is traced or made."""

    def __init__(self, **more):
        super().__init__(**more)
        self.scale = 1.0 + 0.01 * random.random()

    def call(self, inputs):
        return inputs * self.scale * (1.0 + 0.01 * float(np.random.random()))


class Traced(keras.Sequential):
    """Knows how often its step was traced."""

    def train_step(self, data):
        traces.append(self.name)
        return super().train_step(data)


class Draws(keras.callbacks.Callback):
    """What a script draws between two steps."""

    def __init__(self, sources):
        super().__init__()
        self.sources = sources
        self.drawn = []

    def on_train_batch_end(self, batch, logs=None):
        self.drawn.append([float(draw()) for draw in self.sources])


TENSORFLOWS = [lambda: tf.random.normal(()), lambda: tf.random.normal((), seed=5), lambda: keras.random.normal(())]
ALL = [random.random, np.random.random, *TENSORFLOWS]


def compiled(*layers, **more):
    model = Traced([*layers, keras.layers.Dense(2, activation="softmax")], **more)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


results = {}


def keep(name, model, *data, sources=ALL, **more):
    draws = Draws(sources)
    tried = len(traces)
    history = model.fit(*data, epochs=3, callbacks=[draws], verbose=0, **more)
    results[name] = {
        "history": history.history,
        "weights": [variable.numpy().tolist() for variable in model.variables],
        "optimizer": [variable.numpy().tolist() for variable in model.optimizer.variables],
        "metrics": [variable.numpy().tolist() for variable in model.metrics_variables],
        "drawn": draws.drawn,
        "traces": len(traces) - tried,
        "next": [random.random(), float(np.random.random()), float(tf.random.normal(())), keras.layers.Dense(1).name],
    }


def batches():
    """Draws in another thread, and while the export is tried if it is."""
    for _ in range(6):
        waits_until = time.monotonic() + 1.0
        while not os.path.exists(TRIAL) and time.monotonic() < waits_until:
            time.sleep(0.01)
        chosen = [random.randrange(96) for _ in range(16)]
        yield x[chosen] + np.random.normal(size=(16, 8)).astype("float32"), y[chosen]


normal = compiled(
    keras.Input((8,)), keras.layers.Dense(8), keras.layers.BatchNormalization(), keras.layers.Dropout(0.3)
)
keep("normal", normal, x, y, batch_size=16, validation_split=0.25)

augmented = compiled(
    keras.Input((8, 8, 3)), keras.layers.RandomFlip(), keras.layers.RandomRotation(0.1), keras.layers.Flatten()
)
keep("augmented", augmented, images, y, batch_size=16)

stateful = compiled(
    keras.Input((5, 4), batch_size=16), keras.layers.LSTM(6, stateful=True, dropout=0.2, recurrent_dropout=0.2)
)
keep("stateful", stateful, windows, y, batch_size=16, shuffle=False)

shuffled = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(50).map(lambda a, b: (a + tf.random.normal((8,)), b))
keep("pipeline", compiled(keras.layers.Dense(8), keras.layers.Dropout(0.3)), shuffled.batch(16))

fed = compiled(keras.layers.Dense(8), keras.layers.Dropout(0.3))
signature = (tf.TensorSpec((None, 8), tf.float32), tf.TensorSpec((None,), tf.int32))
ahead = tf.data.Dataset.from_generator(batches, output_signature=signature).prefetch(4)
keep("generated", fed, ahead, sources=TENSORFLOWS, steps_per_epoch=2)

keep("counting", compiled(keras.Input((8,)), Counter(), keras.layers.Dense(8)), x, y, batch_size=16)

keep("careless", compiled(keras.Input((8,)), Careless(), keras.layers.GaussianNoise(0.1)), x, y, batch_size=16)

with open(sys.argv[1].removeprefix("--result="), "w") as file:
    json.dump(results, file)
sys.exit(3)
