"""Trains on a tf.data pipeline that caches, shuffles, augments, batches and prefetches."""

import numpy as np
import tensorflow as tf

AUTOTUNE = tf.data.AUTOTUNE
BATCH_SIZE = 32
CLASSES = 5


def leaf_pictures(count):
    """Leaves of five kinds, told apart by the number of their lobes."""
    labels = np.random.randint(0, CLASSES, size=count)
    rows, columns = np.mgrid[-1:1:16j, -1:1:16j]
    radius, angle = np.hypot(rows, columns), np.arctan2(rows, columns)
    images = np.empty((count, 16, 16, 3), dtype="uint8")
    for i, label in enumerate(labels):
        edge = 0.65 + 0.25 * np.cos((label + 2) * (angle + np.random.uniform(-0.3, 0.3)))
        green = np.random.uniform([30, 120, 20], [90, 220, 80])
        picture = np.where((radius < edge)[..., None], green, [200, 190, 170])
        images[i] = np.clip(picture + np.random.normal(0, 12, size=picture.shape), 0, 255)
    return images, labels


def convert(image, label):
    return tf.image.convert_image_dtype(image, tf.float32), label


def augment(image, label):
    image = tf.image.resize_with_crop_or_pad(image, 20, 20)
    image = tf.image.random_crop(image, size=[16, 16, 3])
    image = tf.image.random_flip_left_right(image)
    image = tf.image.random_brightness(image, max_delta=0.2)
    image = tf.clip_by_value(image, 0, 1)
    return image, label


train_images, train_labels = leaf_pictures(1120)
val_images, val_labels = leaf_pictures(256)

train_ds = (
    tf.data.Dataset.from_tensor_slices((train_images, train_labels))
    .map(convert, num_parallel_calls=AUTOTUNE)
    .cache()
    .shuffle(1000)
    .map(augment, num_parallel_calls=AUTOTUNE)
    .batch(BATCH_SIZE)
    .prefetch(AUTOTUNE)
)
val_ds = (
    tf.data.Dataset.from_tensor_slices((val_images, val_labels))
    .map(convert, num_parallel_calls=AUTOTUNE)
    .batch(2 * BATCH_SIZE)
    .cache()
    .prefetch(AUTOTUNE)
)

model = tf.keras.Sequential(
    [
        tf.keras.Input(shape=(16, 16, 3)),
        tf.keras.layers.Conv2D(16, 3, activation="relu"),
        tf.keras.layers.MaxPooling2D(),
        tf.keras.layers.Conv2D(32, 3, activation="relu"),
        tf.keras.layers.Flatten(),
        tf.keras.layers.Dense(64, activation="relu"),
        tf.keras.layers.Dropout(0.2),
        tf.keras.layers.Dense(CLASSES),
    ]
)
model.compile(
    optimizer="adam",
    loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)
history = model.fit(train_ds, validation_data=val_ds, epochs=10)

print("best validation accuracy: {:.3f}".format(max(history.history["val_accuracy"])))
