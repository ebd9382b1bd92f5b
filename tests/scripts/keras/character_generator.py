"""Learns to write in the manner of a little corpus, one character at a time, with a GRU."""

import random

import numpy as np
import tensorflow as tf
from tensorflow import keras

who = ["the miller", "a grey heron", "my neighbour", "the old ferryman", "a tired fox", "the baker"]
does = ["waits by", "walks along", "sleeps near", "looks over", "sings beside", "comes back to"]
where = ["the river", "a stone bridge", "the quiet mill", "the market", "an empty field", "the long road"]
when = ["in the morning", "after the rain", "at noon", "before the harvest", "when the bells ring"]
text = " ".join(
    f"{random.choice(who)} {random.choice(does)} {random.choice(where)} {random.choice(when)}." for _ in range(700)
)
print("Corpus length:", len(text))

chars = sorted(set(text))
print("Total chars:", len(chars))
char_indices = {c: i for i, c in enumerate(chars)}
indices_char = dict(enumerate(chars))

encoded = np.array([char_indices[c] for c in text])
seq_length = 50
batch_size = 32

dataset = (
    tf.data.Dataset.from_tensor_slices(encoded)
    .batch(seq_length + 1, drop_remainder=True)
    .map(lambda chunk: (chunk[:-1], chunk[1:]))
    .shuffle(1000)
    .batch(batch_size, drop_remainder=True)
    .prefetch(tf.data.AUTOTUNE)
)

model = keras.Sequential(
    [
        keras.Input(shape=(None,), dtype="int32"),
        keras.layers.Embedding(len(chars), 32),
        keras.layers.GRU(64, return_sequences=True),
        keras.layers.Dense(len(chars)),
    ]
)
model.summary()
model.compile(
    optimizer=keras.optimizers.Adam(0.01),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
)


def sample(logits, temperature=1.0):
    logits = np.asarray(logits).astype("float64") / temperature
    preds = np.exp(logits - logits.max())
    preds = preds / preds.sum()
    return np.random.choice(len(preds), p=preds)


def generate(seed, length=80, temperature=0.5):
    written = ""
    for _ in range(length):
        window = np.array([[char_indices[c] for c in (seed + written)[-seq_length:]]])
        logits = model.predict_on_batch(window)[0, -1]
        written += indices_char[sample(logits, temperature)]
    return written


model.fit(dataset, epochs=6)

beginning = random.randrange(len(text) - seq_length)
seed_text = text[beginning : beginning + seq_length]
print(f'Generating with seed: "{seed_text}"')
for diversity in (0.2, 0.8):
    print("--- diversity:", diversity)
    print("..." + generate(seed_text, temperature=diversity))
