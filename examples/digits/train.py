"""Trains a small convolutional network that reads handwritten digits."""

import argparse

import keras
import numpy as np
from keras import layers
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=20)
parser.add_argument("--learning_rate", type=float, default=0.003)
parser.add_argument("--filters", type=int, default=24, help="of the first convolution, half of the second's")
parser.add_argument("--augmentation", type=float, default=1.0, help="how strongly the pictures are changed; 0: not")
parser.add_argument("--seed", type=int, default=0)
arguments = parser.parse_args()
keras.utils.set_random_seed(arguments.seed)

# 1,797 pictures of 8 x 8 pixels, each from 0 (paper) to 16 (ink).
digits = load_digits()
images = digits.images[..., np.newaxis].astype("float32")
x_train, x_rest, y_train, y_rest = train_test_split(
    images, digits.target, test_size=0.4, stratify=digits.target, random_state=0
)
x_val, x_test, y_val, y_test = train_test_split(x_rest, y_rest, test_size=0.5, stratify=y_rest, random_state=0)

strength = arguments.augmentation
model = keras.Sequential(
    [
        keras.Input(shape=(8, 8, 1), name="image"),
        layers.Rescaling(1 / 16),
        # Another picture in each epoch. These layers do something during the training only.
        layers.RandomTranslation(0.08 * strength, 0.08 * strength, fill_mode="constant"),
        layers.RandomRotation(0.03 * strength, fill_mode="constant"),
        layers.Conv2D(arguments.filters, 3, padding="same", activation="relu"),
        layers.MaxPooling2D(),
        layers.Conv2D(2 * arguments.filters, 3, padding="same", activation="relu"),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dropout(0.3),
        layers.Dense(10, activation="softmax", name="probabilities"),
    ]
)
model.summary()
model.compile(
    optimizer=keras.optimizers.Adam(arguments.learning_rate),
    loss="sparse_categorical_crossentropy",
    metrics=["accuracy"],
)
model.fit(x_train, y_train, batch_size=32, epochs=arguments.epochs, validation_data=(x_val, y_val), verbose=2)

for name, x in {"as they are": x_test, "moved by a pixel": np.roll(x_test, 1, axis=2)}.items():
    loss, accuracy = model.evaluate(x, y_test, verbose=0)
    print(f"{len(x)} test pictures {name}: loss {loss:.3f}, accuracy {accuracy:.3f}")
