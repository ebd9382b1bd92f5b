"""Trains an image classifier with the TensorBoard callback and plots its curves."""

import datetime
import os

import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf


def load_clothes(count):
    """Grey 16x16 pictures of three kinds of clothes: shirts, trousers, bags."""
    images = np.random.normal(0.1, 0.08, size=(count, 16, 16))
    labels = np.random.randint(0, 3, size=count)
    for image, label in zip(images, labels, strict=True):
        shade = np.random.uniform(0.4, 0.9)
        top = np.random.randint(1, 4)
        if label == 0:
            image[top : top + 4, 1:15] += shade
            image[top + 4 : top + 11, 5:11] += shade
        elif label == 1:
            image[top : top + 11, 4:7] += shade
            image[top : top + 11, 9:12] += shade
        else:
            image[top + 4 : top + 11, 2:14] += shade
            image[top : top + 4, 6:10] += shade / 2
    return np.clip(images, 0, 1), labels


def create_model():
    return tf.keras.models.Sequential(
        [
            tf.keras.layers.Input(shape=(16, 16), name="pictures"),
            tf.keras.layers.Flatten(),
            tf.keras.layers.Dense(256, activation="relu"),
            tf.keras.layers.Dropout(0.2),
            tf.keras.layers.Dense(64, activation="relu"),
            tf.keras.layers.Dense(3, activation="softmax"),
        ]
    )


x_train, y_train = load_clothes(1920)
x_test, y_test = load_clothes(400)

model = create_model()
model.compile(optimizer=tf.keras.optimizers.SGD(0.05), loss="sparse_categorical_crossentropy", metrics=["accuracy"])

log_dir = os.path.join("logs", "fit", datetime.datetime.now().strftime("%Y%m%d-%H%M%S"))
tensorboard_callback = tf.keras.callbacks.TensorBoard(log_dir=log_dir, histogram_freq=1)

history = model.fit(
    x=x_train,
    y=y_train,
    epochs=12,
    batch_size=64,
    validation_data=(x_test, y_test),
    callbacks=[tensorboard_callback],
)

file_writer = tf.summary.create_file_writer(os.path.join(log_dir, "samples"))
with file_writer.as_default():
    tf.summary.image("Test pictures", x_test[:9, :, :, None], max_outputs=9, step=0)

plt.figure(figsize=(8, 4))
for place, name in enumerate(["accuracy", "loss"], start=1):
    plt.subplot(1, 2, place)
    plt.plot(history.history[name], label="training")
    plt.plot(history.history["val_" + name], label="validation")
    plt.xlabel("epoch")
    plt.title(name)
    plt.legend()
plt.tight_layout()
plt.savefig("curves.png")
plt.show()

print("Look at the run with: tensorboard --logdir logs/fit")
