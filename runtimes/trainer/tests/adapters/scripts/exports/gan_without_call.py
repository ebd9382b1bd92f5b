"""The generative adversarial network of the Keras guides, in a list: the whole has no call(), and no parts."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers


class GAN(keras.Model):
    """Trains two networks against each other."""

    def __init__(self, discriminator, generator):
        super().__init__()
        self.networks = [discriminator, generator]
        self.loss_tracker = keras.metrics.Mean(name="loss")

    def train_step(self, real):
        discriminator, generator = self.networks
        noise = tf.random.normal((tf.shape(real)[0], 4))
        with tf.GradientTape() as tape:
            judged = discriminator(tf.concat([generator(noise), real], axis=0))
            loss = tf.reduce_mean(tf.square(judged))
        weights = discriminator.trainable_weights
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        self.loss_tracker.update_state(loss)
        return {"loss": self.loss_tracker.result()}


generator = keras.Sequential([keras.Input((4,)), layers.Dense(6)])
discriminator = keras.Sequential([keras.Input((6,)), layers.Dense(1)])
gan = GAN(discriminator, generator)
gan.compile("adam")
gan.fit(np.random.default_rng(0).normal(size=(128, 6)).astype("float32"), batch_size=32, epochs=1)
