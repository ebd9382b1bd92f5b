import keras
import numpy as np

rng = np.random.default_rng(0)
x = rng.normal(size=(2000, 6)).astype("float32")
price = (250_000 + 80_000 * x[:, 0] + 30_000 * x[:, 1] + rng.normal(size=2000) * 5000).astype("float32")
norm = keras.layers.Normalization()
norm.adapt(x)
model = keras.Sequential(
    [
        keras.Input((6,), name="house"),
        norm,
        keras.layers.Dense(64, activation="relu"),
        keras.layers.Dense(64, activation="relu"),
        keras.layers.Dense(1, name="price"),
    ]
)
model.compile(keras.optimizers.Adam(0.01), "mse", metrics=["mae"])
model.fit(x, price, epochs=4, batch_size=64, validation_split=0.2, verbose=2)
print("sample", model.predict(x[:3], verbose=0).ravel(), price[:3])
