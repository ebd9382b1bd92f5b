import keras
import numpy as np

keras.mixed_precision.set_global_policy("mixed_float16")
x = np.random.rand(512, 28, 28, 1).astype("float32")
y = np.random.randint(0, 10, 512)
model = keras.Sequential(
    [
        keras.Input((28, 28, 1), name="image"),
        keras.layers.Conv2D(8, 3, activation="relu"),
        keras.layers.BatchNormalization(),
        keras.layers.MaxPooling2D(),
        keras.layers.Flatten(),
        keras.layers.Dense(10),
        keras.layers.Activation("softmax", dtype="float32", name="probabilities"),
    ]
)
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(x, y, epochs=3, batch_size=32, verbose=2)
