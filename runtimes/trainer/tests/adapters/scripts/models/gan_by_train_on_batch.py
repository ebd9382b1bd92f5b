import keras
import numpy as np
from model_data import x

generator = keras.Sequential([keras.Input((2,)), keras.layers.Dense(4)], name="generator")
discriminator = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, "sigmoid")], name="discriminator")
discriminator.compile("adam", "binary_crossentropy")
discriminator.trainable = False
noise = keras.Input((2,))
combined = keras.Model(noise, discriminator(generator(noise)), name="combined")
combined.compile("adam", "binary_crossentropy")
for _ in range(3):
    seeds = np.random.normal(size=(8, 2)).astype("float32")
    discriminator.train_on_batch(x[:8], np.ones((8, 1)))
    discriminator.train_on_batch(generator.predict(seeds, verbose=0), np.zeros((8, 1)))
    combined.train_on_batch(seeds, np.ones((8, 1)))
EXPECTED = [discriminator, combined]
