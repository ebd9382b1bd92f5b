"""Segments cells in noisy microscope-like images with a small U-Net that takes images of any size."""

import keras
import numpy as np
from keras import layers


def make_batch_of_slides(count, height, width):
    """Grey slides with a few round cells, and the mask of the cells."""
    rows, cols = np.mgrid[0:height, 0:width]
    masks = np.zeros((count, height, width), dtype="float32")
    for mask in masks:
        for _ in range(np.random.randint(2, 5)):
            r, c = np.random.randint(4, height - 4), np.random.randint(4, width - 4)
            radius = np.random.uniform(2.5, 5.0)
            mask[(rows - r) ** 2 + (cols - c) ** 2 < radius**2] = 1.0
    slides = 0.3 + 0.4 * masks + np.random.normal(0, 0.2, masks.shape)
    return slides[..., None].astype("float32"), masks[..., None]


def double_conv(x, filters):
    x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
    return layers.Conv2D(filters, 3, padding="same", activation="relu")(x)


def get_unet():
    inputs = keras.Input((None, None, 1))

    # Down
    skip1 = double_conv(inputs, 6)
    x = layers.MaxPooling2D()(skip1)
    skip2 = double_conv(x, 16)
    x = layers.MaxPooling2D()(skip2)

    # Bottom
    x = double_conv(x, 32)

    # Up
    x = layers.Conv2DTranspose(16, 2, strides=2, padding="same")(x)
    x = double_conv(layers.concatenate([x, skip2]), 16)
    x = layers.Conv2DTranspose(6, 2, strides=2, padding="same")(x)
    x = double_conv(layers.concatenate([x, skip1]), 6)

    outputs = layers.Conv2D(1, 1, activation="sigmoid")(x)
    return keras.Model(inputs, outputs, name="unet")


train_x, train_y = make_batch_of_slides(128, 24, 24)
val_x, val_y = make_batch_of_slides(24, 24, 24)

model = get_unet()
model.summary()
model.compile(
    optimizer=keras.optimizers.Adam(4e-3),
    loss="binary_crossentropy",
    metrics=[keras.metrics.BinaryIoU(target_class_ids=[1], threshold=0.5, name="iou")],
)
model.fit(train_x, train_y, batch_size=8, epochs=7, validation_data=(val_x, val_y))

# The same weights work on a larger slide, as long as both sides divide by four.
large_x, large_y = make_batch_of_slides(1, 48, 80)
prediction = model.predict(large_x)
agreement = np.mean((prediction > 0.5) == (large_y > 0.5))
print(f"48x80 slide: output {prediction.shape}, {agreement:.1%} of the pixels right")
