# A listing as tutorials have it: the discriminator is evaluated after each round.
import keras
import numpy as np
from model_data import x

discriminator = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, "sigmoid")], name="discriminator")
discriminator.compile("adam", "binary_crossentropy")
generator = keras.Sequential([keras.Input((2,)), keras.layers.Dense(4)], name="generator")
discriminator.trainable = False
gan = keras.Sequential([generator, discriminator], name="gan")
gan.compile("adam", "binary_crossentropy")
for _ in range(2):
    seeds = np.random.normal(size=(8, 2)).astype("float32")
    discriminator.train_on_batch(x[:8], np.ones((8, 1)))
    gan.train_on_batch(seeds, np.ones((8, 1)))
    discriminator.evaluate(x[:8], np.ones((8, 1)), verbose=0)
    generator.save("generator.keras")
EXPECTED = [discriminator, gan]
