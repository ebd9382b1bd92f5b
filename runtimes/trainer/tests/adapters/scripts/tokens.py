"""A small model of tokens; its data does not divide evenly into batches."""

import json
import sys
import time

import keras
import numpy as np

rng = np.random.default_rng(1)
x = rng.integers(0, 50, size=(403, 6)).astype("int32")
y = (x.sum(axis=1) % 5).astype("int32")
model = keras.Sequential(
    [
        keras.layers.Embedding(50, 8),
        keras.layers.LSTM(8),
        keras.layers.Dense(5, activation="softmax", name="probabilities"),
    ]
)
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
arguments = dict(argument.removeprefix("--").split("=") for argument in sys.argv[1:])


class Pause(keras.callbacks.Callback):
    def on_test_begin(self, logs=None):
        print("validation", flush=True)
        time.sleep(float(arguments.get("validation-pause", 0)))


history = model.fit(x, y, epochs=3, batch_size=16, validation_data=(x[:50], y[:50]), callbacks=[Pause()])
evaluation = model.evaluate(x, y)
with open(arguments["result"], "w") as file:
    weights = [weight.tolist() for weight in model.get_weights()]
    json.dump({"history": history.history, "weights": weights, "evaluation": evaluation}, file)
np.savez(arguments["result"] + ".npz", x=x[:4], y=model.predict(x[:4]))
