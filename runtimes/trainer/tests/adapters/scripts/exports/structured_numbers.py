"""Columns of a table, without text: normalized, put into bins, one-hot."""

import keras
import numpy as np
from keras import layers

rng = np.random.default_rng(0)
columns = {
    "age": rng.uniform(18, 90, size=(256, 1)).astype("float32"),
    "income": rng.lognormal(10, 1, size=(256, 1)).astype("float32"),
    "weekday": rng.integers(0, 7, size=(256, 1)),
}
y = (columns["age"] > 40).astype("float32")
inputs = {
    "age": keras.Input((1,), name="age"),
    "income": keras.Input((1,), name="income"),
    "weekday": keras.Input((1,), name="weekday", dtype="int64"),
}
income = layers.Normalization()
income.adapt(columns["income"])
age = layers.Discretization(num_bins=5, output_mode="one_hot")
age.adapt(columns["age"])
features = layers.concatenate(
    [
        age(inputs["age"]),
        income(inputs["income"]),
        layers.CategoryEncoding(7)(inputs["weekday"]),
    ]
)
model = keras.Model(inputs, layers.Dense(1, activation="sigmoid", name="buys")(features))
model.compile("adam", "binary_crossentropy")
model.fit(columns, y, batch_size=32, epochs=1)
