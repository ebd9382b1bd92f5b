"""Trains a character model of place names, one epoch at a time, and writes names after each epoch."""

import random

import numpy as np
from tensorflow.keras.layers import LSTM, Dense, Input
from tensorflow.keras.models import Sequential
from tensorflow.keras.optimizers import Adam

starts = ["new", "old", "east", "west", "north", "south", "great", "little", "upper", "lower"]
middles = ["ash", "oak", "mill", "stone", "bridge", "wood", "king", "lake", "river", "sand"]
ends = ["ton", "ham", "ford", "bury", "field", "port", "well", "mouth"]
names = [f"{random.choice(starts)} {random.choice(middles)}{random.choice(ends)}" for _ in range(120)]
text = "\n".join(names)
print("Corpus length:", len(text))

chars = sorted(set(text))
char_indices = {c: i for i, c in enumerate(chars)}
indices_char = dict(enumerate(chars))

# cut the text into overlapping sequences of maxlen characters
maxlen = 12
step = 2
sentences = [text[i : i + maxlen] for i in range(0, len(text) - maxlen, step)]
next_chars = [text[i + maxlen] for i in range(0, len(text) - maxlen, step)]
print("Number of sequences:", len(sentences))

x = np.zeros((len(sentences), maxlen, len(chars)), dtype="float32")
y = np.zeros((len(sentences), len(chars)), dtype="float32")
for i, sentence in enumerate(sentences):
    for t, char in enumerate(sentence):
        x[i, t, char_indices[char]] = 1
    y[i, char_indices[next_chars[i]]] = 1

model = Sequential([Input(shape=(maxlen, len(chars))), LSTM(64), Dense(len(chars), activation="softmax")])
model.compile(loss="categorical_crossentropy", optimizer=Adam(learning_rate=0.01))


def sample(preds, temperature=1.0):
    preds = np.log(np.asarray(preds).astype("float64") + 1e-9) / temperature
    preds = np.exp(preds) / np.sum(np.exp(preds))
    return np.random.choice(len(preds), p=preds)


for epoch in range(8):
    print()
    print("Epoch", epoch)
    model.fit(x, y, batch_size=64, epochs=1)

    seed = random.choice(sentences)
    generated = ""
    for _ in range(6):
        x_pred = np.zeros((1, maxlen, len(chars)), dtype="float32")
        for t, char in enumerate((seed + generated)[-maxlen:]):
            x_pred[0, t, char_indices[char]] = 1.0
        generated += indices_char[sample(model.predict(x_pred, verbose=0)[0], temperature=0.4)]
    print(repr(seed), "->", repr(generated))
