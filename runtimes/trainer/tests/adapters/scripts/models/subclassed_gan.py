import keras
import tensorflow as tf
from model_data import x


class Gan(keras.Model):
    def __init__(self):
        super().__init__()
        self.generator = keras.Sequential([keras.Input((2,)), keras.layers.Dense(4)])
        self.discriminator = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])

    def call(self, noise):
        return self.generator(noise)

    def train_step(self, real):
        with tf.GradientTape() as tape:
            made = self.generator(tf.random.normal((8, 2)))
            loss = tf.reduce_mean(self.discriminator(made)) - tf.reduce_mean(self.discriminator(real))
        variables = self.discriminator.trainable_variables
        self.optimizer.apply(tape.gradient(loss, variables), variables)
        return {"d_loss": loss}


gan = Gan()
gan.compile("sgd")
gan.fit(x, epochs=1, batch_size=8, verbose=0)
EXPECTED = gan
