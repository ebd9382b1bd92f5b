import keras
import numpy as np

x = np.random.rand(80, 10, 4).astype("float32")
y = x.sum((1, 2))[:, None].astype("float32")
model = keras.Sequential(
    [
        keras.Input(batch_shape=(8, 10, 4), name="window"),
        keras.layers.LSTM(16, stateful=True),
        keras.layers.Dense(1, name="next"),
    ]
)
model.compile("adam", "mse")
model.fit(x, y, epochs=4, batch_size=8, shuffle=False, verbose=2)
