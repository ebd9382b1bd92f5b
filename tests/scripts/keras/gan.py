"""Trains a DCGAN that draws 16x16 icons, with the two-player step in a custom train_step."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers

latent_dim = 32
batch_size = 32

# Real icons: rings of different radius around a slightly moving centre.
centres = np.random.uniform(6.5, 8.5, (640, 2, 1, 1))
radii = np.random.uniform(3.0, 6.0, (640, 1, 1))
rows, cols = np.mgrid[0:16, 0:16]
distance = np.sqrt((rows - centres[:, 0]) ** 2 + (cols - centres[:, 1]) ** 2)
icons = np.exp(-((distance - radii) ** 2)).astype("float32")[..., None]
dataset = tf.data.Dataset.from_tensor_slices(icons).shuffle(640).batch(batch_size, drop_remainder=True)

discriminator = keras.Sequential(name="discriminator")
discriminator.add(keras.Input(shape=(16, 16, 1)))
discriminator.add(layers.Conv2D(16, kernel_size=4, strides=2, padding="same", activation="leaky_relu"))
discriminator.add(layers.Conv2D(32, kernel_size=4, strides=2, padding="same", activation="leaky_relu"))
discriminator.add(layers.Flatten())
discriminator.add(layers.Dropout(0.2))
discriminator.add(layers.Dense(1))

generator = keras.Sequential(name="generator")
generator.add(keras.Input(shape=(latent_dim,)))
generator.add(layers.Dense(4 * 4 * 32))
generator.add(layers.Reshape((4, 4, 32)))
generator.add(layers.Conv2DTranspose(32, kernel_size=4, strides=2, padding="same", activation="relu"))
generator.add(layers.Conv2DTranspose(16, kernel_size=4, strides=2, padding="same", activation="relu"))
generator.add(layers.Conv2D(1, kernel_size=3, padding="same", activation="sigmoid"))


class GAN(keras.Model):
    def __init__(self, discriminator, generator, latent_dim):
        super().__init__()
        self.discriminator = discriminator
        self.generator = generator
        self.latent_dim = latent_dim

    def compile(self, d_optimizer, g_optimizer, loss_fn):
        super().compile()
        self.d_optimizer = d_optimizer
        self.g_optimizer = g_optimizer
        self.loss_fn = loss_fn
        self.d_loss_metric = keras.metrics.Mean(name="d_loss")
        self.g_loss_metric = keras.metrics.Mean(name="g_loss")

    @property
    def metrics(self):
        return [self.d_loss_metric, self.g_loss_metric]

    def train_step(self, real_images):
        batch = tf.shape(real_images)[0]
        # The discriminator learns to tell real (1) from generated (0).
        generated = self.generator(tf.random.normal((batch, self.latent_dim)))
        combined = tf.concat([real_images, generated], axis=0)
        labels = tf.concat([tf.ones((batch, 1)), tf.zeros((batch, 1))], axis=0)
        with tf.GradientTape() as tape:
            d_loss = self.loss_fn(labels, self.discriminator(combined, training=True))
        grads = tape.gradient(d_loss, self.discriminator.trainable_weights)
        self.d_optimizer.apply_gradients(zip(grads, self.discriminator.trainable_weights, strict=True))

        # The generator learns to make the discriminator say "real".
        with tf.GradientTape() as tape:
            fakes = self.generator(tf.random.normal((batch, self.latent_dim)), training=True)
            g_loss = self.loss_fn(tf.ones((batch, 1)), self.discriminator(fakes))
        grads = tape.gradient(g_loss, self.generator.trainable_weights)
        self.g_optimizer.apply_gradients(zip(grads, self.generator.trainable_weights, strict=True))

        self.d_loss_metric.update_state(d_loss)
        self.g_loss_metric.update_state(g_loss)
        return {m.name: m.result() for m in self.metrics}


class SaveIcons(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        image = self.model.generator(tf.random.normal((1, self.model.latent_dim)))[0]
        keras.utils.array_to_img(image).save(f"icon_{epoch:02d}.png")


gan = GAN(discriminator, generator, latent_dim)
gan.compile(
    d_optimizer=keras.optimizers.Adam(5e-4, beta_1=0.5),
    g_optimizer=keras.optimizers.Adam(1e-3, beta_1=0.5),
    loss_fn=keras.losses.BinaryCrossentropy(from_logits=True),
)
gan.fit(dataset, epochs=8, callbacks=[SaveIcons()])
