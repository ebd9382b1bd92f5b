"""Classifies short film reviews with a Transformer encoder whose layers are written out."""

import argparse
import random
import zlib
from collections.abc import Callable

import keras
import numpy as np
from keras import layers, ops
from sklearn.linear_model import LogisticRegression

LENGTH = 16
VOCABULARY = 4096

parser = argparse.ArgumentParser()
parser.add_argument("--width", type=int, default=32)
parser.add_argument("--heads", type=int, default=4)
parser.add_argument("--blocks", type=int, default=2)
parser.add_argument("--dropout", type=float, default=0.1)
parser.add_argument("--augmentation", type=float, default=0.1, help="the share of words that become others; 0: none")
parser.add_argument("--epochs", type=int, default=7)
parser.add_argument("--learning_rate", type=float, default=0.002)
parser.add_argument("--reviews", type=int, default=4000, help="to train with")
parser.add_argument("--seed", type=int, default=0)
arguments = parser.parse_args()
keras.utils.set_random_seed(arguments.seed)

# ----- the data: reviews that are made, in which the order of the words matters

GOOD = ["brilliant", "lovely", "gripping", "funny", "clever", "moving", "superb", "charming"]
BAD = ["dull", "boring", "tedious", "clumsy", "silly", "awful", "lifeless", "weak"]
SUBJECTS = ["plot", "acting", "music", "dialogue", "ending", "camera", "script", "cast"]
DEGREES = ["", "really", "quite", "rather", "very"]


def clause(draw: random.Random, is_good: bool) -> str:
    """Such as `the plot was not really dull`."""
    is_negated = draw.random() < 0.4
    word = draw.choice(GOOD if is_good != is_negated else BAD)
    return f"the {draw.choice(SUBJECTS)} was {'not' if is_negated else ''} {draw.choice(DEGREES)} {word}"


def review(draw: random.Random) -> tuple[str, bool]:
    """What comes after `but` is the verdict; what comes before `although` is, too."""
    is_good = draw.random() < 0.5
    form = draw.choice(["{same} and {same2}", "{other} but {same}", "{same} although {other}"])
    return (
        form.format(same=clause(draw, is_good), same2=clause(draw, is_good), other=clause(draw, not is_good)),
        is_good,
    )


def misspelt(text: str, draw: random.Random) -> str:
    """One word in ten lacks its second letter."""
    return " ".join(word[:1] + word[2:] if draw.random() < 0.1 else word for word in text.split())


def tokens_of(text: str) -> list[int]:
    """A number for each word, without a list of words: its checksum. 0 is for what is left of LENGTH."""
    numbers = [1 + zlib.crc32(word.encode()) % (VOCABULARY - 1) for word in text.lower().split()][:LENGTH]
    return numbers + [0] * (LENGTH - len(numbers))


def reviews(count: int, seed: int, change: Callable[[str], str] = str) -> tuple[np.ndarray, np.ndarray]:
    draw = random.Random(seed)
    made = [review(draw) for _ in range(count)]
    tokens = [tokens_of(change(text)) for text, _ in made]
    return np.array(tokens, "int32"), np.array([label for _, label in made], "float32")


# ----- the layers


class OtherWords(layers.Layer):
    """Augmentation: some words become any others, anew in each epoch. It does so during the training only."""

    def __init__(self, share: float, vocabulary: int, **kwargs) -> None:
        super().__init__(**kwargs)
        self.share, self.vocabulary, self.seeds = share, vocabulary, keras.random.SeedGenerator()

    def call(self, tokens, training=None):
        if not training:
            return tokens
        shape = ops.shape(tokens)
        others = keras.random.randint(shape, 1, self.vocabulary, dtype="int32", seed=self.seeds)
        is_drawn = keras.random.uniform(shape, seed=self.seeds) < self.share
        return ops.where(ops.logical_and(is_drawn, tokens != 0), others, tokens)


class Embedding(layers.Layer):
    """A vector for each word plus one for its position, both learned."""

    def __init__(self, vocabulary: int, length: int, width: int, **kwargs) -> None:
        super().__init__(**kwargs)
        self.words = layers.Embedding(vocabulary, width)
        self.positions = layers.Embedding(length, width)

    def call(self, tokens):
        return self.words(tokens) + self.positions(ops.arange(ops.shape(tokens)[1]))


class SelfAttention(layers.Layer):
    """softmax(Q K^T / sqrt(d)) V in several heads. Each head has width / heads of the numbers."""

    def __init__(self, width: int, heads: int, **kwargs) -> None:
        super().__init__(**kwargs)
        self.heads, self.size = heads, width // heads
        self.query, self.key, self.value = layers.Dense(width), layers.Dense(width), layers.Dense(width)
        self.output_projection = layers.Dense(width)

    def split(self, x):
        """(batch, steps, width) -> (batch, heads, steps, size)"""
        return ops.transpose(ops.reshape(x, (-1, ops.shape(x)[1], self.heads, self.size)), (0, 2, 1, 3))

    def call(self, x, is_word):
        query, key, value = self.split(self.query(x)), self.split(self.key(x)), self.split(self.value(x))
        scores = ops.matmul(query, ops.transpose(key, (0, 1, 3, 2))) / self.size**0.5
        scores += (1 - is_word[:, None, None, :]) * -1e9  # nobody looks at the empty places
        mixed = ops.transpose(ops.matmul(ops.softmax(scores), value), (0, 2, 1, 3))
        return self.output_projection(ops.reshape(mixed, (-1, ops.shape(x)[1], self.heads * self.size)))


class Block(layers.Layer):
    """LayerNorm(x + attention(x)), then LayerNorm(x + network(x)) with the same network for each position."""

    def __init__(self, width: int, heads: int, dropout: float, **kwargs) -> None:
        super().__init__(**kwargs)
        self.attention, self.first_norm = SelfAttention(width, heads), layers.LayerNormalization()
        self.network = keras.Sequential([layers.Dense(4 * width, activation="relu"), layers.Dense(width)])
        self.second_norm, self.dropout = layers.LayerNormalization(), layers.Dropout(dropout)

    def call(self, x, is_word, training=None):
        x = self.first_norm(x + self.dropout(self.attention(x, is_word), training=training))
        return self.second_norm(x + self.dropout(self.network(x), training=training))


# ----- the model

tokens = keras.Input(shape=(LENGTH,), dtype="int32", name="tokens")
is_word = ops.cast(ops.not_equal(tokens, 0), "float32")
x = OtherWords(arguments.augmentation, VOCABULARY)(tokens)
x = Embedding(VOCABULARY, LENGTH, arguments.width)(x)
for _ in range(arguments.blocks):
    x = Block(arguments.width, arguments.heads, arguments.dropout)(x, is_word)
x = ops.sum(x * is_word[..., None], axis=1) / ops.maximum(ops.sum(is_word, axis=1, keepdims=True), 1)
model = keras.Model(tokens, layers.Dense(1, activation="sigmoid", name="good")(x))
model.summary()

x_train, y_train = reviews(arguments.reviews, seed=1)
x_val, y_val = reviews(1000, seed=2)
x_test, y_test = reviews(1000, seed=3)
model.compile(
    optimizer=keras.optimizers.Adam(arguments.learning_rate), loss="binary_crossentropy", metrics=["accuracy"]
)
model.fit(x_train, y_train, batch_size=64, epochs=arguments.epochs, validation_data=(x_val, y_val), verbose=2)

loss, accuracy = model.evaluate(x_test, y_test, verbose=0)


def bags(x: np.ndarray) -> np.ndarray:
    """How often each word is there, whatever their order."""
    return np.array([np.bincount(row, minlength=VOCABULARY)[1:] for row in x])


by_words = LogisticRegression(max_iter=1000).fit(bags(x_train), y_train).score(bags(x_test), y_test)
print(
    f"test: loss {loss:.3f}, accuracy {accuracy:.3f}; a logistic regression on the words without order: {by_words:.3f}"
)
mistakes = random.Random(4)
loss, accuracy = model.evaluate(*reviews(1000, seed=3, change=lambda text: misspelt(text, mistakes)), verbose=0)
print(f"the same with one word in ten misspelt: loss {loss:.3f}, accuracy {accuracy:.3f}")
