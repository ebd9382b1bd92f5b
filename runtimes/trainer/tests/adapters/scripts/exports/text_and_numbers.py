"""A table with a column of words and one of numbers."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers

rng = np.random.default_rng(0)
cities = rng.choice(["Oslo", "Bern", "Rome"], size=(256, 1))
sizes = rng.uniform(20, 200, size=(256, 1)).astype("float32")
rent = (sizes * np.where(cities == "Oslo", 30, 20)).astype("float32")
index = layers.StringLookup(vocabulary=["Oslo", "Bern", "Rome"], output_mode="one_hot", name="city_index")
city, size = keras.Input((1,), dtype="string", name="city"), keras.Input((1,), name="size")
normalize = layers.Normalization()
normalize.adapt(sizes)
features = layers.concatenate([index(city), normalize(size)])
model = keras.Model({"city": city, "size": size}, layers.Dense(1, name="rent")(features))
model.compile("adam", "mse")
model.fit({"city": tf.constant(cities), "size": sizes}, rent, batch_size=32, epochs=1)
