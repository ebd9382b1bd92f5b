"""A GAN with two optimizers of its own, a variable and a generator of random numbers beside its layers."""

import json
import sys
import time

import keras
import numpy as np
import tensorflow as tf


class Slow(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        time.sleep(0.015)


class Gan(keras.Model):
    def __init__(self):
        super().__init__()
        self.generator = keras.Sequential([keras.Input((2,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(3)])
        self.critic = keras.Sequential([keras.Input((3,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(1)])
        self.optimizers = {"generator": keras.optimizers.Adam(0.01), "critic": keras.optimizers.Adam(0.01)}
        self.noise = tf.random.Generator.from_seed(7)
        self.seen = tf.Variable(0.0, trainable=False)
        self.cross_entropy = keras.losses.BinaryCrossentropy(from_logits=True)

    def call(self, x):
        return self.critic(x)

    def train_step(self, real):
        self.seen.assign_add(1.0)
        made = self.generator(self.noise.normal((16, 2)))
        both = tf.concat([real, made], 0)
        labels = tf.concat([tf.ones((16, 1)), tf.zeros((16, 1))], 0)
        with tf.GradientTape() as tape:
            critic_loss = self.cross_entropy(labels, self.critic(both))
        weights = self.critic.trainable_weights
        self.optimizers["critic"].apply_gradients(zip(tape.gradient(critic_loss, weights), weights, strict=True))
        with tf.GradientTape() as tape:
            made = self.generator(self.noise.normal((16, 2)))
            generator_loss = self.cross_entropy(tf.ones((16, 1)), self.critic(made))
        weights = self.generator.trainable_weights
        self.optimizers["generator"].apply_gradients(zip(tape.gradient(generator_loss, weights), weights, strict=True))
        return {"critic_loss": critic_loss, "generator_loss": generator_loss, "seen": self.seen}


x = np.random.default_rng(1).normal(size=(320, 3)).astype("float32")
model = Gan()
model.compile()
history = model.fit(x, batch_size=16, epochs=3, callbacks=[Slow()])
with open(sys.argv[1].removeprefix("--result="), "w") as file:
    weights = [weight.tolist() for weight in (*model.generator.get_weights(), *model.critic.get_weights())]
    json.dump({"history": history.history, "weights": weights}, file)
