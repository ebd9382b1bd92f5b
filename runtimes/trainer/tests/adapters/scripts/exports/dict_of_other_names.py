"""Inputs declared as a dict whose keys are not the layers' names, fed by a PyDataset."""

import keras
import numpy as np
from keras import layers


class Ratings(keras.utils.PyDataset):
    """Pairs of a user and a film."""

    def __len__(self):
        return 8

    def __getitem__(self, index):
        rng = np.random.default_rng(index)
        pairs = {"u": rng.integers(0, 20, size=(16, 1)), "film": rng.normal(size=(16, 4)).astype("float32")}
        return pairs, rng.uniform(1, 5, size=(16, 1)).astype("float32")


user, film = keras.Input((1,), name="user_id"), keras.Input((4,), name="a_film")
taste = layers.Flatten()(layers.Embedding(20, 4)(user))
outputs = layers.Dot(axes=1, name="stars")([taste, film])
model = keras.Model({"u": user, "film": film}, outputs)
model.compile("adam", "mse")
model.fit(Ratings(), epochs=1)
