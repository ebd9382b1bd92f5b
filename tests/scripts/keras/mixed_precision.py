"""Classifies flattened 16x16 images with a wide network in mixed precision."""

import numpy as np
import tensorflow as tf
from tensorflow import keras
from tensorflow.keras import layers, mixed_precision

mixed_precision.set_global_policy("mixed_float16")
policy = mixed_precision.global_policy()
print("Compute dtype:", policy.compute_dtype)
print("Variable dtype:", policy.variable_dtype)

num_units = 128 if not tf.config.list_physical_devices("GPU") else 2048

# Ten kinds of garments, each a template that varies in brightness
templates = np.random.randint(0, 256, size=(10, 16, 16))
labels = np.random.randint(0, 10, size=1200)
brightness = np.random.uniform(0.4, 1.0, size=(1200, 1, 1))
pixels = np.clip(templates[labels] * brightness + np.random.normal(0, 120, size=(1200, 16, 16)), 0, 255)
images = pixels.astype("uint8")

x_train = images[:1000].reshape(1000, 256).astype("float32") / 255
x_test = images[1000:].reshape(200, 256).astype("float32") / 255
y_train, y_test = labels[:1000], labels[1000:]

inputs = keras.Input(shape=(256,), name="pixels")
dense1 = layers.Dense(num_units, activation="relu", name="dense_1")
x = dense1(inputs)
x = layers.Dense(num_units, activation="relu", name="dense_2")(x)
x = layers.Dense(10, name="dense_logits")(x)
# The softmax stays in float32, or the loss may overflow.
outputs = layers.Activation("softmax", dtype="float32", name="predictions")(x)
print(f"Hidden layer: {dense1.compute_dtype}, outputs: {outputs.dtype}")

model = keras.Model(inputs=inputs, outputs=outputs)
model.compile(
    loss="sparse_categorical_crossentropy",
    optimizer=keras.optimizers.RMSprop(),
    metrics=["accuracy"],
)

history = model.fit(x_train, y_train, batch_size=50, epochs=10, validation_split=0.2)
test_scores = model.evaluate(x_test, y_test, verbose=2)
print("Test loss:", test_scores[0])
print("Test accuracy:", test_scores[1])
