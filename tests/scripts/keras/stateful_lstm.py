"""Learns a lagged moving sum over long series with a stateful LSTM that carries its state over batches."""

import keras
import numpy as np
from keras import layers

# A series is longer than what one batch holds: the state of the LSTM has to remember the rest.
series_count = 16
series_length = 160
window = 10
lag = 12
batch_size = series_count
epochs = 12

x = np.random.uniform(-1, 1, size=(series_count, series_length)).astype("float32")
y = np.zeros_like(x)
for t in range(series_length):
    y[:, t] = x[:, max(0, t - lag) : t + 1].mean(axis=1)

# Batch k holds the k-th window of every series, in the same order.
windows = series_length // window
x_batches = x.reshape(series_count, windows, window).swapaxes(0, 1).reshape(-1, window, 1)
y_batches = y.reshape(series_count, windows, window).swapaxes(0, 1).reshape(-1, window, 1)
print("Input shape:", x_batches.shape)
print("Output shape:", y_batches.shape)

split = (windows - 4) * batch_size
x_train, x_test = x_batches[:split], x_batches[split:]
y_train, y_test = y_batches[:split], y_batches[split:]

model = keras.Sequential(
    [
        keras.Input(batch_shape=(batch_size, window, 1)),
        layers.LSTM(32, return_sequences=True, stateful=True),
        layers.LSTM(16, return_sequences=True, stateful=True),
        layers.Dense(1),
    ]
)
model.summary()
model.compile(loss="mse", optimizer=keras.optimizers.Adam(1e-2))


def reset_states():
    for layer in model.layers:
        if hasattr(layer, "reset_states"):
            layer.reset_states()


print("Training")
for epoch in range(epochs):
    history = model.fit(x_train, y_train, batch_size=batch_size, epochs=1, verbose=0, shuffle=False)
    print(f"Epoch {epoch + 1} / {epochs} - loss {history.history['loss'][0]:.5f}")
    if epoch < epochs - 1:
        reset_states()

# The test windows follow the training windows, so the state stays as it is.
print("Predicting")
predicted = model.predict(x_test, batch_size=batch_size)
print(f"Test RMSE: {np.sqrt(np.mean((predicted - y_test) ** 2)):.4f}")
print(f"RMSE of always saying the mean: {np.std(y_test):.4f}")
