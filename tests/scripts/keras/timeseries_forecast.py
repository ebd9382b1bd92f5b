"""Forecasts the temperature some hours ahead from one day of hourly weather, with a GRU."""

import keras
import numpy as np

# Hourly weather of about 100 days: temperature, pressure, humidity.
hours = np.arange(24 * 100)
temperature = 9 + 8 * np.sin(2 * np.pi * hours / (24 * 90)) + 4 * np.sin(2 * np.pi * hours / 24)
drift = np.cumsum(np.random.normal(0, 0.15, size=len(hours)))
temperature = temperature + drift - drift.mean() + np.random.normal(0, 0.4, size=len(hours))
pressure = 1010 + np.cumsum(np.random.normal(0, 0.3, size=len(hours)))
humidity = np.clip(95 - 2 * temperature + np.random.normal(0, 5, size=len(hours)), 10, 100)
raw_data = np.stack([temperature, pressure, humidity], axis=-1)

num_train = int(0.6 * len(raw_data))
num_val = int(0.2 * len(raw_data))
mean = raw_data[:num_train].mean(axis=0)
std = raw_data[:num_train].std(axis=0)
data = ((raw_data - mean) / std).astype("float32")
target = data[:, 0]

sequence_length = 24
horizon = 6
delay = sequence_length + horizon - 1


def windows(start, end, shuffle):
    return keras.utils.timeseries_dataset_from_array(
        data[start : end - delay],
        targets=target[start + delay : end],
        sequence_length=sequence_length,
        sampling_rate=1,
        batch_size=128,
        shuffle=shuffle,
    )


train_dataset = windows(0, num_train, shuffle=True)
val_dataset = windows(num_train, num_train + num_val, shuffle=False)
test_dataset = windows(num_train + num_val, len(data), shuffle=False)

for samples, targets in train_dataset.take(1):
    print("samples shape:", samples.shape)
    print("targets shape:", targets.shape)

inputs = keras.Input(shape=(sequence_length, data.shape[-1]))
x = keras.layers.GRU(32)(inputs)
x = keras.layers.Dropout(0.2)(x)
outputs = keras.layers.Dense(1)(x)
model = keras.Model(inputs, outputs)

callbacks = [keras.callbacks.ModelCheckpoint("weather_gru.keras", save_best_only=True)]
model.compile(optimizer=keras.optimizers.RMSprop(0.004), loss="mse", metrics=["mae"])
model.fit(train_dataset, epochs=8, validation_data=val_dataset, callbacks=callbacks)

model = keras.models.load_model("weather_gru.keras")
test_mae = model.evaluate(test_dataset)[1]
print(f"Test MAE: {test_mae * std[0]:.2f} degrees")

naive = np.abs(data[num_train + num_val : -horizon, 0] - data[num_train + num_val + horizon :, 0]).mean()
print(f"MAE of 'as warm as now': {naive * std[0]:.2f} degrees")
