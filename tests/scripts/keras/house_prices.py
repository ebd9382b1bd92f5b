"""Predicts house prices from a table, with a Normalization layer fitted to the training features."""

import matplotlib
import numpy as np
import pandas as pd
import tensorflow as tf
from tensorflow import keras
from tensorflow.keras import layers

matplotlib.use("Agg")
import matplotlib.pyplot as plt

np.set_printoptions(precision=3, suppress=True)

n = 1500
houses = pd.DataFrame(
    {
        "living_area": np.random.normal(1900, 600, n).clip(500, 5000),
        "lot_area": np.random.lognormal(9.0, 0.4, n),
        "bedrooms": np.random.randint(1, 7, n),
        "bathrooms": np.random.randint(1, 5, n),
        "year_built": np.random.randint(1920, 2021, n),
        "distance_to_centre": np.random.exponential(8.0, n),
    }
)
houses["price"] = (
    120_000
    + 160 * houses.living_area
    + 4 * houses.lot_area
    + 15_000 * houses.bathrooms
    + 900 * (houses.year_built - 1920)
    - 6_000 * houses.distance_to_centre
    + np.random.normal(0, 20_000, n)
).clip(100_000, 1_000_000)
print(houses.describe().transpose()[["mean", "std", "min", "max"]])

train_dataset = houses.sample(frac=0.8, random_state=0)
test_dataset = houses.drop(train_dataset.index)
train_features, test_features = train_dataset.copy(), test_dataset.copy()
train_labels, test_labels = train_features.pop("price"), test_features.pop("price")

normalizer = layers.Normalization(axis=-1)
normalizer.adapt(np.array(train_features))

model = keras.Sequential(
    [
        normalizer,
        layers.Dense(64, activation="relu"),
        layers.Dense(64, activation="relu"),
        layers.Dense(1),
    ]
)
model.compile(
    loss="mean_squared_error",
    optimizer=tf.keras.optimizers.Adam(0.05),
    metrics=[keras.metrics.MeanAbsoluteError(name="mae"), keras.metrics.RootMeanSquaredError(name="rmse")],
)
history = model.fit(
    np.array(train_features), np.array(train_labels), validation_split=0.2, epochs=12, batch_size=32, verbose=2
)

hist = pd.DataFrame(history.history)
hist["epoch"] = history.epoch
print(hist.tail())
plt.plot(hist["epoch"], hist["mae"], label="mae")
plt.plot(hist["epoch"], hist["val_mae"], label="val_mae")
plt.xlabel("Epoch")
plt.ylabel("Error [price]")
plt.legend()
plt.savefig("history.png")

test_results = model.evaluate(np.array(test_features), np.array(test_labels), verbose=0, return_dict=True)
print("Mean absolute error on the test set: {:,.0f}".format(test_results["mae"]))
test_predictions = model.predict(np.array(test_features), verbose=0).flatten()
for prediction, label in list(zip(test_predictions, test_labels, strict=True))[:5]:
    print(f"predicted {prediction:>10,.0f}   sold for {label:>10,.0f}")
