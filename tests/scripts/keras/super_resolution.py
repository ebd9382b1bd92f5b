"""Doubles the resolution of grey pictures of any size with sub-pixel convolutions."""

import numpy as np
import tensorflow as tf
from tensorflow import keras
from tensorflow.keras import layers

upscale_factor = 2
crop_size = 24
input_size = crop_size // upscale_factor


def make_scene(height, width):
    """Overlapping discs and bars with sharp edges."""
    rows, columns = np.mgrid[0:height, 0:width]
    scene = np.full((height, width), np.random.uniform(0, 1))
    for _ in range(8):
        row, column = np.random.uniform(0, height), np.random.uniform(0, width)
        if np.random.rand() < 0.5:
            mask = (rows - row) ** 2 + (columns - column) ** 2 < np.random.uniform(3, 8) ** 2
        else:
            slope = np.random.uniform(-2, 2)
            mask = abs(rows - row - slope * (columns - column)) < np.random.uniform(1, 3)
        scene[mask] = np.random.uniform(0, 1)
    return scene[..., None].astype("float32")


def process_input(picture):
    return tf.image.resize(picture, [input_size, input_size], method="area")


class DepthToSpace(layers.Layer):
    def __init__(self, block_size):
        super().__init__()
        self.block_size = block_size

    def call(self, inputs):
        return tf.nn.depth_to_space(inputs, self.block_size)


def get_model(upscale_factor=2, channels=1):
    inputs = keras.Input(shape=(None, None, channels))
    x = layers.Conv2D(32, 5, padding="same", activation="relu", kernel_initializer="he_normal")(inputs)
    x = layers.Conv2D(32, 3, padding="same", activation="relu", kernel_initializer="he_normal")(x)
    x = layers.Conv2D(16, 3, padding="same", activation="relu", kernel_initializer="he_normal")(x)
    x = layers.Conv2D(channels * upscale_factor**2, 3, padding="same")(x)
    return keras.Model(inputs, DepthToSpace(upscale_factor)(x))


class PSNRCallback(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.psnr = []

    def on_test_batch_end(self, batch, logs=None):
        self.psnr.append(-10 * np.log10(logs["loss"]))

    def on_epoch_end(self, epoch, logs=None):
        print(f"Mean PSNR for epoch {epoch + 1}: {np.mean(self.psnr):.2f}")


pictures = np.stack([make_scene(crop_size, crop_size) for _ in range(560)])
train_ds = tf.data.Dataset.from_tensor_slices(pictures[:480]).map(lambda x: (process_input(x), x))
valid_ds = tf.data.Dataset.from_tensor_slices(pictures[480:]).map(lambda x: (process_input(x), x))
train_ds = train_ds.cache().shuffle(480).batch(16).prefetch(tf.data.AUTOTUNE)
valid_ds = valid_ds.batch(16).cache()

model = get_model(upscale_factor)
model.summary()
model.compile(optimizer=keras.optimizers.Adam(learning_rate=0.002), loss="mean_squared_error")
model.fit(train_ds, epochs=10, callbacks=[PSNRCallback()], validation_data=valid_ds, verbose=2)
model.save("upscaler.keras")

large = make_scene(40, 64)
small = tf.image.resize(large, [20, 32], method="area")
restored = model.predict(small[None])[0]
bicubic = tf.image.resize(small, [40, 64], method="bicubic")
print(f"PSNR of the model: {tf.image.psnr(restored, large, 1.0):.2f}")
print(f"PSNR of bicubic:   {tf.image.psnr(bicubic, large, 1.0):.2f}")
