import keras
import numpy as np
from keras import layers


def block(x, n):
    return layers.Conv2D(n, 3, padding="same", activation="relu")(
        layers.Conv2D(n, 3, padding="same", activation="relu")(x)
    )


inp = keras.Input((None, None, 3), name="image")
a = block(inp, 8)
b = block(layers.MaxPooling2D()(a), 16)
c = block(layers.MaxPooling2D()(b), 32)
d = block(layers.concatenate([layers.Conv2DTranspose(16, 2, strides=2)(c), b]), 16)
e = block(layers.concatenate([layers.Conv2DTranspose(8, 2, strides=2)(d), a]), 8)
out = layers.Conv2D(1, 1, activation="sigmoid", name="mask")(e)
model = keras.Model(inp, out)
model.compile("adam", "binary_crossentropy")
x = np.random.rand(64, 32, 32, 3).astype("float32")
y = (x.mean(-1, keepdims=True) > 0.5).astype("float32")
model.fit(x, y, epochs=4, batch_size=8, verbose=2)
