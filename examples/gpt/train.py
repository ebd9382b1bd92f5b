"""Trains a small GPT, character by character, on the texts of Python's own manual."""

import argparse
import importlib.util
import json
import pathlib
import pydoc_data.topics

import keras
import numpy as np
from keras import layers, ops

# The printable characters of ASCII, and the end of a line; every other one becomes a space.
CHARACTERS = "\n" + "".join(map(chr, range(32, 127)))

parser = argparse.ArgumentParser()
parser.add_argument("--data", type=pathlib.Path, help="a text; without it what `help()` knows of the language")
parser.add_argument("--context", type=int, default=48, help="how many characters the model looks back")
parser.add_argument("--width", type=int, default=64)
parser.add_argument("--heads", type=int, default=4)
parser.add_argument("--blocks", type=int, default=2)
parser.add_argument("--dropout", type=float, default=0.0)
parser.add_argument("--epochs", type=int, default=4)
parser.add_argument("--batches", type=int, default=80, help="in an epoch")
parser.add_argument("--learning_rate", type=float, default=0.005)
parser.add_argument("--seed", type=int, default=0)
arguments = parser.parse_args()
keras.utils.set_random_seed(arguments.seed)

# ----- the data: windows of a text, and the same windows one character on

text = arguments.data.read_text("utf-8") if arguments.data else "\n".join(pydoc_data.topics.topics.values())
index = {character: number for number, character in enumerate(CHARACTERS)}
numbers = np.array([index.get(character, index[" "]) for character in text], "int32")


def windows(numbers: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    starts = np.random.default_rng(seed).integers(0, len(numbers) - arguments.context - 1, size=count)
    rows = numbers[starts[:, np.newaxis] + np.arange(arguments.context + 1)]
    return rows[:, :-1], rows[:, 1:]


# The last tenth of the text is for the validation.
cut = int(0.9 * len(numbers))
x_train, y_train = windows(numbers[:cut], 32 * arguments.batches * arguments.epochs, seed=1)
x_val, y_val = windows(numbers[cut:], 250, seed=2)

# ----- the layers


class Embedding(layers.Layer):
    """A vector for each character plus one for its position, both learned."""

    def __init__(self, characters: int, length: int, width: int, **kwargs) -> None:
        super().__init__(**kwargs)
        self.characters, self.positions = layers.Embedding(characters, width), layers.Embedding(length, width)

    def call(self, tokens):
        return self.characters(tokens) + self.positions(ops.arange(ops.shape(tokens)[1]))


class CausalSelfAttention(layers.Layer):
    """softmax(Q K^T / sqrt(d)) V in several heads; a position sees itself and those before it."""

    def __init__(self, width: int, heads: int, **kwargs) -> None:
        super().__init__(**kwargs)
        self.heads, self.size = heads, width // heads
        self.query, self.key, self.value = layers.Dense(width), layers.Dense(width), layers.Dense(width)
        self.output_projection = layers.Dense(width)

    def split(self, x):
        """(batch, steps, width) -> (batch, heads, steps, size)"""
        return ops.transpose(ops.reshape(x, (-1, ops.shape(x)[1], self.heads, self.size)), (0, 2, 1, 3))

    def call(self, x):
        query, key, value = self.split(self.query(x)), self.split(self.key(x)), self.split(self.value(x))
        scores = ops.matmul(query, ops.transpose(key, (0, 1, 3, 2))) / self.size**0.5
        steps = ops.arange(ops.shape(x)[1])
        is_later = ops.cast(steps[None, :] > steps[:, None], scores.dtype)
        mixed = ops.transpose(ops.matmul(ops.softmax(scores - 1e9 * is_later), value), (0, 2, 1, 3))
        return self.output_projection(ops.reshape(mixed, (-1, ops.shape(x)[1], self.heads * self.size)))


class Block(layers.Layer):
    """x + attention(LayerNorm(x)), then x + network(LayerNorm(x)): GPT normalises first."""

    def __init__(self, width: int, heads: int, dropout: float, **kwargs) -> None:
        super().__init__(**kwargs)
        self.attention, self.first_norm = CausalSelfAttention(width, heads), layers.LayerNormalization()
        self.network = keras.Sequential([layers.Dense(4 * width, activation="gelu"), layers.Dense(width)])
        self.second_norm, self.dropout = layers.LayerNormalization(), layers.Dropout(dropout)

    def call(self, x, training=None):
        x = x + self.dropout(self.attention(self.first_norm(x)), training=training)
        return x + self.dropout(self.network(self.second_norm(x)), training=training)


# ----- the model: for each position the probabilities of the character that follows

tokens = keras.Input(shape=(None,), dtype="int32", name="tokens")
x = Embedding(len(CHARACTERS), arguments.context, arguments.width)(tokens)
for _ in range(arguments.blocks):
    x = Block(arguments.width, arguments.heads, arguments.dropout)(x)
x = layers.LayerNormalization()(x)
model = keras.Model(tokens, layers.Dense(len(CHARACTERS), activation="softmax", name="probabilities")(x))
model.summary()

# ----- for Headrace, where it is there: the model writes text, with a tokenizer whose tokens are the characters

tokenizer = {
    "version": "1.0",
    "normalizer": {"type": "Replace", "pattern": {"Regex": r"[^\n -~]"}, "content": " "},
    "decoder": {"type": "Fuse"},
    "model": {"type": "BPE", "vocab": index, "merges": []},
}
pathlib.Path("tokenizer.json").write_text(json.dumps(tokenizer), "utf-8")
if importlib.util.find_spec("headrace_client"):
    import headrace_client

    headrace_client.text(model, "tokenizer.json")

# ----- the training

model.compile(
    optimizer=keras.optimizers.AdamW(
        keras.optimizers.schedules.CosineDecay(arguments.learning_rate, arguments.batches * arguments.epochs)
    ),
    loss="sparse_categorical_crossentropy",
    metrics=["accuracy"],
)
model.fit(
    x_train,
    y_train,
    batch_size=32,
    steps_per_epoch=arguments.batches,
    epochs=arguments.epochs,
    validation_data=(x_val, y_val),
    verbose=2,
)

# ----- a sample: each character is drawn, and appended to what the model sees


def write(start: str, length: int) -> str:
    draw = np.random.default_rng(arguments.seed)
    written = [index.get(character, index[" "]) for character in start]
    for _ in range(length):
        seen = np.array([written[-arguments.context :]], "int32")
        probabilities = ops.convert_to_numpy(model(seen))[0, -1].astype("float64") ** 2  # likelier ones, more often
        written.append(int(draw.choice(len(CHARACTERS), p=probabilities / probabilities.sum())))
    return "".join(CHARACTERS[number] for number in written)


print(write("The statement ", 40))
