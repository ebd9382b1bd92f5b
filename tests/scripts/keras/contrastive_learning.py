"""Pre-trains an encoder by contrasting two views of each picture, then trains a linear head."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

width = 64
temperature = 0.1


def load_textures(count):
    """Stripes, checks and rings of different periods: six classes."""
    labels = np.random.randint(0, 6, size=count)
    rows, columns = np.mgrid[0:16, 0:16]
    images = np.empty((count, 16, 16, 1), dtype="float32")
    for i, label in enumerate(labels):
        period, shift = (4, 7)[label % 2], np.random.uniform(0, 7, size=2)
        a, b = 2 * np.pi * (rows + shift[0]) / period, 2 * np.pi * (columns + shift[1]) / period
        pattern = [np.sin(a), np.sin(a) * np.sin(b), np.sin(np.hypot(a - 9, b - 9))][label // 2]
        images[i, :, :, 0] = 0.5 + 0.3 * pattern + np.random.normal(0, 0.15, size=(16, 16))
    return images, labels


def get_augmenter():
    flip, shift = layers.RandomFlip("horizontal"), layers.RandomTranslation(0.15, 0.15, fill_mode="reflect")
    return keras.Sequential([keras.Input(shape=(16, 16, 1)), flip, shift, layers.GaussianNoise(0.1)])


def get_encoder():
    return keras.Sequential(
        [
            keras.Input(shape=(16, 16, 1)),
            layers.Conv2D(24, 3, strides=2, activation="relu"),
            layers.Conv2D(32, 3, strides=2, activation="relu"),
            layers.Flatten(),
            layers.Dense(width, activation="relu"),
        ],
        name="encoder",
    )


class ContrastiveModel(keras.Model):
    def __init__(self):
        super().__init__()
        self.augmenter = get_augmenter()
        self.encoder = get_encoder()
        self.projection_head = keras.Sequential([keras.Input(shape=(width,)), layers.Dense(width)])
        self.loss_tracker = keras.metrics.Mean(name="c_loss")

    @property
    def metrics(self):
        return [self.loss_tracker]

    def project(self, images):
        features = self.encoder(self.augmenter(images, training=True), training=True)
        return ops.normalize(self.projection_head(features), axis=1)

    def train_step(self, images):
        with tf.GradientTape() as tape:
            similarities = ops.matmul(self.project(images), ops.transpose(self.project(images))) / temperature
            targets = ops.arange(ops.shape(images)[0])
            loss = keras.losses.sparse_categorical_crossentropy(targets, similarities, from_logits=True)
            loss += keras.losses.sparse_categorical_crossentropy(targets, ops.transpose(similarities), from_logits=True)
            loss = ops.mean(loss) / 2
        weights = self.encoder.trainable_weights + self.projection_head.trainable_weights
        self.optimizer.apply(tape.gradient(loss, weights), weights)
        self.loss_tracker.update_state(loss)
        return {"c_loss": self.loss_tracker.result()}


unlabeled, _ = load_textures(1280)
x_train, y_train = load_textures(480)
x_test, y_test = load_textures(300)

pretraining = ContrastiveModel()
pretraining.compile(optimizer=keras.optimizers.Adam(0.002))
pretraining.fit(tf.data.Dataset.from_tensor_slices(unlabeled).shuffle(1280).batch(64), epochs=8)

pretraining.encoder.trainable = False
classifier = keras.Sequential([keras.Input(shape=(16, 16, 1)), pretraining.encoder, layers.Dense(6)], name="classifier")
classifier.compile(
    optimizer=keras.optimizers.Adam(0.01),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=[keras.metrics.SparseCategoricalAccuracy(name="acc")],
)
classifier.fit(x_train, y_train, batch_size=32, epochs=8, validation_data=(x_test, y_test))
