"""Trains a convolutional variational autoencoder on small images of rotated ellipses."""

import os

os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import matplotlib
import numpy as np
import tensorflow as tf
from keras import layers, ops

matplotlib.use("Agg")
import matplotlib.pyplot as plt

LATENT_DIM = 2


class Sampling(layers.Layer):
    """Draws z from the normal distribution with the mean and log-variance that the encoder gives."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator(1337)

    def call(self, inputs):
        mean, log_var = inputs
        noise = keras.random.normal(shape=ops.shape(mean), seed=self.seed_generator)
        return mean + ops.exp(log_var / 2) * noise


encoder_inputs = keras.Input(shape=(16, 16, 1))
x = layers.Conv2D(16, 3, strides=2, padding="same", activation="relu")(encoder_inputs)
x = layers.Conv2D(32, 3, strides=2, padding="same", activation="relu")(x)
x = layers.Dense(16, activation="relu")(layers.Flatten()(x))
z_mean = layers.Dense(LATENT_DIM, name="z_mean")(x)
z_log_var = layers.Dense(LATENT_DIM, name="z_log_var")(x)
encoder = keras.Model(encoder_inputs, [z_mean, z_log_var, Sampling()([z_mean, z_log_var])], name="encoder")

latent_inputs = keras.Input(shape=(LATENT_DIM,))
x = layers.Dense(4 * 4 * 32, activation="relu")(latent_inputs)
x = layers.Reshape((4, 4, 32))(x)
x = layers.Conv2DTranspose(16, 3, strides=2, padding="same", activation="relu")(x)
decoder_outputs = layers.Conv2DTranspose(1, 3, strides=2, padding="same", activation="sigmoid")(x)
decoder = keras.Model(latent_inputs, decoder_outputs, name="decoder")


class VAE(keras.Model):
    def __init__(self, encoder, decoder, **kwargs):
        super().__init__(**kwargs)
        self.encoder = encoder
        self.decoder = decoder
        self.loss_tracker = keras.metrics.Mean(name="loss")
        self.reconstruction_tracker = keras.metrics.Mean(name="reconstruction_loss")
        self.kl_tracker = keras.metrics.Mean(name="kl_loss")

    @property
    def metrics(self):
        return [self.loss_tracker, self.reconstruction_tracker, self.kl_tracker]

    def train_step(self, data):
        with tf.GradientTape() as tape:
            mean, log_var, z = self.encoder(data, training=True)
            decoded = self.decoder(z, training=True)
            reconstruction_loss = ops.mean(ops.sum(keras.losses.binary_crossentropy(data, decoded), axis=(1, 2)))
            kl_loss = ops.mean(ops.sum(-0.5 * (1 + log_var - ops.square(mean) - ops.exp(log_var)), axis=1))
            loss = reconstruction_loss + kl_loss
        gradients = tape.gradient(loss, self.trainable_weights)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))
        self.loss_tracker.update_state(loss)
        self.reconstruction_tracker.update_state(reconstruction_loss)
        self.kl_tracker.update_state(kl_loss)
        return {m.name: m.result() for m in self.metrics}


angle = np.random.uniform(0, np.pi, (2000, 1, 1))
width = np.random.uniform(1.5, 4.0, (2000, 1, 1))
rows, cols = np.mgrid[-7.5:8, -7.5:8]
along, across = rows * np.cos(angle) + cols * np.sin(angle), cols * np.cos(angle) - rows * np.sin(angle)
images = np.exp(-((along / 6) ** 4) - (across / width) ** 4)[..., None].astype("float32")

vae = VAE(encoder, decoder)
vae.compile(optimizer=keras.optimizers.Adam(2e-3))
vae.fit(images, epochs=10, batch_size=64)

grid = np.stack(np.meshgrid(np.linspace(-1.5, 1.5, 8), np.linspace(-1.5, 1.5, 8)), axis=-1).reshape(-1, 2)
generated = vae.decoder.predict(grid, verbose=0)
plt.imsave("latent_space.png", generated.reshape(8, 8, 16, 16).swapaxes(1, 2).reshape(128, 128), cmap="gray")
