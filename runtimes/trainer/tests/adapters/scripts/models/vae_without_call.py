# The variational autoencoder of the Keras guides, evaluated at its end: the whole has no call().
import keras
import tensorflow as tf
from model_data import x


class Vae(keras.Model):
    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder
        self.decoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(4)], name="to_pixels")
        self.unused = None

    def train_step(self, data):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(self.decoder(self.encoder(data)) - data))
        self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
        return {"loss": loss}

    def test_step(self, data):
        return {"loss": tf.reduce_mean(tf.square(self.decoder(self.encoder(data)) - data))}


encoder = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)], name="encoder")
vae = Vae(encoder)
vae.compile("adam")
vae.fit(x, epochs=1, verbose=0)
vae.evaluate(x, verbose=0)
EXPECTED = [encoder, vae.decoder]
