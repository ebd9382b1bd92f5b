"""Forecasts demand from history in which recent days count more, with sample weights in a tf.data pipeline."""

import numpy as np
import tensorflow as tf
from tensorflow import keras
from tensorflow.keras import layers

keras.utils.set_random_seed(812)

DAYS = 1400

# The effect of the price has grown over the years, so old days mislead.
day = np.arange(DAYS)
weekday = np.eye(7)[day % 7]
price = np.random.uniform(1.0, 3.0, DAYS)
temperature = 12 + 10 * np.sin(2 * np.pi * day / 365) + np.random.normal(0, 3, DAYS)
price_effect = np.linspace(-0.4, -1.0, DAYS)
demand = 4 + price_effect * price + 0.08 * temperature + weekday @ np.random.uniform(0, 1.5, 7)
demand += np.random.normal(0, 0.2, DAYS)

features = np.column_stack([price - 2.0, (temperature - 12) / 10, weekday]).astype("float32")
targets = demand.astype("float32")

# Half-life of 200 days, and an average weight of one.
holdout = 140
x_train, y_train = features[:-holdout], targets[:-holdout]
x_test, y_test = features[-holdout:], targets[-holdout:]
sample_weight = 0.5 ** ((len(x_train) - np.arange(len(x_train))) / 200)
sample_weight /= sample_weight.mean()
print(f"Oldest day counts {sample_weight[0]:.3f}, newest {sample_weight[-1]:.3f}")

train_dataset = tf.data.Dataset.from_tensor_slices((x_train, y_train, sample_weight.astype("float32")))
train_dataset = train_dataset.shuffle(buffer_size=2048).batch(32)
test_dataset = tf.data.Dataset.from_tensor_slices((x_test, y_test)).batch(32)

model = keras.Sequential(
    [
        layers.Input(shape=(features.shape[1],)),
        layers.Dense(128, activation="relu"),
        layers.BatchNormalization(),
        layers.Dense(128, activation="relu"),
        layers.BatchNormalization(),
        layers.Dense(64, activation="relu"),
        layers.Dense(1),
    ]
)
model.compile(
    optimizer=keras.optimizers.Adam(3e-3),
    loss=keras.losses.Huber(),
    metrics=["mae"],
    weighted_metrics=["mse"],
)
reduce_lr = keras.callbacks.ReduceLROnPlateau(monitor="loss", factor=0.5, patience=2, min_lr=1e-5)
model.fit(train_dataset, epochs=12, validation_data=test_dataset, callbacks=[reduce_lr])

print("Evaluate on the last days")
results = model.evaluate(test_dataset, return_dict=True)
print(results)
