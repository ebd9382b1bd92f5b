"""Finds the shape in a small image: a network with one head for the class and one for the box."""

import numpy as np
import tensorflow as tf
from tensorflow import keras
from tensorflow.keras import layers

tf.keras.utils.set_random_seed(42)

IMAGE_SIZE = 16
CLASSES = ["square", "frame", "cross"]


def draw(kind, size):
    patch = np.zeros((size, size), dtype="float32")
    if kind == 0:
        patch[:] = 1
    elif kind == 1:
        patch[[0, -1], :] = 1
        patch[:, [0, -1]] = 1
    else:
        patch[size // 2, :] = 1
        patch[:, size // 2] = 1
    return patch


def make_dataset(count):
    images = np.random.normal(0, 0.1, (count, IMAGE_SIZE, IMAGE_SIZE, 1)).astype("float32")
    kinds = np.random.randint(0, len(CLASSES), count)
    boxes = np.zeros((count, 4), dtype="float32")
    for i in range(count):
        size = np.random.randint(5, 10)
        top, left = np.random.randint(0, IMAGE_SIZE - size + 1, 2)
        images[i, top : top + size, left : left + size, 0] += draw(kinds[i], size)
        boxes[i] = np.array([left, top, left + size, top + size]) / IMAGE_SIZE
    return images, kinds, boxes


def build_model():
    inputs = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 1), name="image")
    x = layers.Conv2D(16, 3, padding="same", activation="relu")(inputs)
    x = layers.MaxPooling2D()(x)
    x = layers.Conv2D(32, 3, padding="same", activation="relu")(x)
    x = layers.MaxPooling2D()(x)
    x = layers.Flatten()(x)
    x = layers.Dense(64, activation="relu")(x)
    class_output = layers.Dense(len(CLASSES), activation="softmax", name="class")(x)
    box_output = layers.Dense(4, activation="sigmoid", name="box")(x)
    return keras.Model(inputs, {"class": class_output, "box": box_output})


def main():
    images, kinds, boxes = make_dataset(900)

    model = build_model()
    model.summary()
    model.compile(
        optimizer="adam",
        loss={"class": "sparse_categorical_crossentropy", "box": "mse"},
        loss_weights={"class": 1.0, "box": 5.0},
        metrics={"class": ["accuracy"], "box": ["mae"]},
    )
    model.fit(
        images,
        {"class": kinds, "box": boxes},
        validation_split=0.1,
        batch_size=32,
        epochs=8,
        verbose=2,
    )

    test_images, test_kinds, test_boxes = make_dataset(200)
    results = model.evaluate(test_images, {"class": test_kinds, "box": test_boxes}, verbose=0, return_dict=True)
    for name, value in results.items():
        print(f"{name}: {value:.4f}")

    prediction = model.predict(test_images[:3], verbose=0)
    for i in range(3):
        print(CLASSES[prediction["class"][i].argmax()], prediction["box"][i].round(2), "truth", test_boxes[i].round(2))


if __name__ == "__main__":
    main()
