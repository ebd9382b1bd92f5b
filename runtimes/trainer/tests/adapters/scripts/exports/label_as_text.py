"""The answer is a word: the label's, found by StringLookup(invert=True)."""

import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(0)
x = rng.normal(size=(256, 4)).astype("float32")
y = x[:, :3].argmax(axis=1)
inputs = keras.Input((4,), name="flower")
scores = layers.Dense(3, name="scores")(inputs)
trained = keras.Model(inputs, scores)
trained.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))


class Labelled(keras.Model):
    """The trained model with words for its answers."""

    def __init__(self, scores, labels):
        super().__init__()
        self.scores = scores
        self.label = layers.StringLookup(vocabulary=labels, num_oov_indices=0, invert=True, name="label")

    def call(self, flowers):
        scores = self.scores(flowers)
        return {"scores": scores, "label": self.label(ops.argmax(scores, axis=-1))}

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)(y, y_pred["scores"])


model = Labelled(trained, ["setosa", "versicolor", "virginica"])
model.compile("adam")
model.fit(x, y, batch_size=32, epochs=1)
