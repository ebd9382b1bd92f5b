"""Numbers of articles, looked up in a vocabulary."""

import keras
import numpy as np
from keras import layers

rng = np.random.default_rng(0)
articles = rng.choice([1001, 2002, 3003, 4004], size=(256, 3))
y = (articles == 1001).any(axis=1, keepdims=True).astype("float32")
lookup = layers.IntegerLookup(name="article_index")
lookup.adapt(articles)
inputs = keras.Input((3,), dtype="int64", name="articles")
x = layers.Flatten()(layers.Embedding(lookup.vocabulary_size(), 4)(lookup(inputs)))
model = keras.Model(inputs, layers.Dense(1, activation="sigmoid", name="returned")(x))
model.compile("adam", "binary_crossentropy")
model.fit(articles, y, batch_size=32, epochs=1)
