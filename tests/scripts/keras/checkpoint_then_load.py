"""Trains an image classifier, keeps the best epoch with ModelCheckpoint and evaluates that one."""

import os

import keras
import numpy as np
from keras import layers
from keras.callbacks import EarlyStopping, ModelCheckpoint

num_classes = 4
input_shape = (16, 16, 3)


def load_tiles(n):
    """Textured tiles: stripes across, stripes down, checks, plain."""
    y = np.random.randint(0, num_classes, n)
    rows, cols = np.mgrid[0:16, 0:16]
    period = np.random.uniform(3, 6, (n, 1, 1))
    across = np.sign(np.sin(2 * np.pi * rows / period))
    down = np.sign(np.sin(2 * np.pi * cols / period))
    patterns = np.stack([across, down, across * down, np.zeros_like(across)], axis=1)
    tiles = patterns[np.arange(n), y][..., None] * np.random.uniform(0.2, 0.8, (n, 1, 1, 3))
    return (tiles + np.random.normal(0, 1.2, tiles.shape)).astype("float32"), y


x_train, y_train = load_tiles(800)
x_val, y_val = load_tiles(200)
x_test, y_test = load_tiles(200)
y_train, y_val, y_test = (keras.utils.to_categorical(y, num_classes) for y in (y_train, y_val, y_test))

model = keras.Sequential(
    [
        keras.Input(shape=input_shape),
        layers.RandomFlip("horizontal"),
        layers.Conv2D(16, kernel_size=(3, 3), activation="relu"),
        layers.MaxPooling2D(pool_size=(2, 2)),
        layers.Conv2D(32, kernel_size=(3, 3), activation="relu"),
        layers.GlobalAveragePooling2D(),
        layers.Dropout(0.3),
        layers.Dense(num_classes, activation="softmax"),
    ]
)
model.compile(loss="categorical_crossentropy", optimizer=keras.optimizers.Adam(3e-3), metrics=["accuracy"])

os.makedirs("checkpoints", exist_ok=True)
checkpoint_path = "checkpoints/best.keras"
callbacks = [
    ModelCheckpoint(checkpoint_path, monitor="val_accuracy", save_best_only=True, mode="max", verbose=1),
    EarlyStopping(monitor="val_loss", patience=4),
]
model.fit(
    x_train,
    y_train,
    batch_size=32,
    epochs=8,
    validation_data=(x_val, y_val),
    callbacks=callbacks,
)

best_model = keras.models.load_model(checkpoint_path)
last_score = model.evaluate(x_test, y_test, verbose=0)
best_score = best_model.evaluate(x_test, y_test, verbose=0)
print(f"Last epoch: loss {last_score[0]:.4f}, accuracy {last_score[1]:.4f}")
print(f"Best epoch: loss {best_score[0]:.4f}, accuracy {best_score[1]:.4f}")
