"""Trains an iris-like classifier with MLflow autologging."""

import mlflow
import numpy as np
from tensorflow import keras
from tensorflow.keras import layers

mlflow.autolog()

# Petals and sepals of three species, in centimetres.
centres = np.array([[5.0, 3.4, 1.5, 0.2], [5.9, 2.8, 4.3, 1.3], [6.6, 3.0, 5.5, 2.0]])
spread = np.array([0.35, 0.35, 0.45, 0.25])
species = np.random.randint(0, 3, size=2400)
flowers = (centres[species] + spread * np.random.normal(size=(2400, 4))).astype("float32")

x_train, y_train = flowers[:1920], species[:1920]
x_test, y_test = flowers[1920:], species[1920:]

model = keras.Sequential(
    [
        keras.Input(shape=(4,)),
        layers.Dense(64, activation="relu"),
        layers.Dense(64, activation="relu"),
        layers.Dense(3, activation="softmax"),
    ]
)
model.compile(
    optimizer=keras.optimizers.Adam(),
    loss=keras.losses.SparseCategoricalCrossentropy(),
    metrics=["accuracy"],
)
model.fit(x_train, y_train, batch_size=64, epochs=10, validation_split=0.2)

score = model.evaluate(x_test, y_test)
print(f"Test loss: {score[0]:.4f}")
print(f"Test accuracy: {score[1]:.2f}")
