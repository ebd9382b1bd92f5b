"""Trains a model that guesses the next word of a text."""

import argparse

import keras
import numpy as np

parser = argparse.ArgumentParser()
parser.add_argument("--data", default="/data/corpus")
parser.add_argument("--epochs", type=int, default=10)
parser.add_argument("--learning_rate", type=float, default=0.001)
parser.add_argument("--units", type=int, default=64, help="of the LSTM")
parser.add_argument("--windows", type=int, help="use only so many windows of each part, for a quick try")
arguments = parser.parse_args()

corpus = {name: array[: arguments.windows] for name, array in np.load(arguments.data).items()}
train_data, train_labels = corpus["train_data"], corpus["train_labels"]
validation_data, validation_labels = corpus["validation_data"], corpus["validation_labels"]
test_data, test_labels = corpus["test_data"], corpus["test_labels"]

model = keras.Sequential(
    [
        keras.Input(shape=(None,), dtype="int32", name="tokens"),
        keras.layers.Embedding(10000, 64),
        keras.layers.LSTM(arguments.units),
        keras.layers.Dense(64, activation="relu"),
        keras.layers.Dense(10000, activation="softmax", name="probabilities"),
    ]
)
model.compile(
    optimizer=keras.optimizers.Adam(arguments.learning_rate),
    loss="sparse_categorical_crossentropy",
    metrics=["accuracy"],
)

model.fit(
    train_data,
    train_labels,
    batch_size=32,
    epochs=arguments.epochs,
    validation_data=(validation_data, validation_labels),
)

loss, accuracy = model.evaluate(test_data, test_labels)
print(f"test: loss {loss:.3f}, accuracy {accuracy:.3f}")
