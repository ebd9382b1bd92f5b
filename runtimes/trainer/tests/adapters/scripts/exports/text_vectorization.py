import keras
import numpy as np
import tensorflow as tf
from keras import layers

good, bad = (
    ["great movie", "loved it", "wonderful and moving", "best film ever"],
    ["terrible movie", "hated it", "boring and slow", "worst film ever"],
)
texts = np.array((good + bad) * 50, dtype=object)
labels = np.array(([1] * 4 + [0] * 4) * 50, dtype="float32")
vectorize = layers.TextVectorization(max_tokens=200, output_sequence_length=8)
vectorize.adapt(texts)
inp = keras.Input(shape=(1,), dtype="string", name="text")
x = vectorize(inp)
x = layers.Embedding(200, 16)(x)
x = layers.GlobalAveragePooling1D()(x)
out = layers.Dense(1, activation="sigmoid", name="sentiment")(x)
model = keras.Model(inp, out)
model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
model.fit(tf.constant(texts[:, None].astype(str)), labels, epochs=5, batch_size=16)
