"""Classifies short film reviews with KerasHub's BERT: a small one from nothing, or a large one that knows English."""

import argparse
import random
import zlib

import keras
import keras_hub
import numpy as np
from keras import layers

LENGTH = 18  # what begins a text, 16 words, what ends it
VOCABULARY = 2048
START, END, FIRST = 1, 2, 3  # numbers below FIRST are no words; 0 is for what is left of LENGTH

parser = argparse.ArgumentParser()
parser.add_argument(
    "--preset", help="a folder with a BERT as KerasHub keeps it, and its tokenizer; without: a small one"
)
parser.add_argument("--width", type=int, default=32)
parser.add_argument("--heads", type=int, default=4)
parser.add_argument("--blocks", type=int, default=2)
parser.add_argument("--epochs", type=int, default=6)
parser.add_argument("--learning_rate", type=float, default=0.002, help="with a preset 3e-5")
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


# ----- BERT, and the numbers that it knows words by

if arguments.preset:
    backbone = keras_hub.models.BertBackbone.from_preset(arguments.preset)
    tokenizer = keras_hub.models.BertTokenizer.from_preset(arguments.preset)
    start, end = tokenizer.cls_token_id, tokenizer.sep_token_id

    def words_of(text: str) -> list[int]:
        return [int(number) for number in tokenizer(text)]

else:
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=VOCABULARY,
        num_layers=arguments.blocks,
        num_heads=arguments.heads,
        hidden_dim=arguments.width,
        intermediate_dim=4 * arguments.width,
        max_sequence_length=LENGTH,
    )
    start, end = START, END

    def words_of(text: str) -> list[int]:
        """A number for each word, without a list of words: its checksum."""
        return [FIRST + zlib.crc32(word.encode()) % (VOCABULARY - FIRST) for word in text.lower().split()]


def tokens_of(text: str) -> list[int]:
    numbers = [start, *words_of(text)[: LENGTH - 2], end]
    return numbers + [0] * (LENGTH - len(numbers))


def reviews(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    draw = random.Random(seed)
    made = [review(draw) for _ in range(count)]
    return np.array([tokens_of(text) for text, _ in made], "int32"), np.array([label for _, label in made], "float32")


# ----- the model: it makes what else BERT wants from the tokens, so that a client sends nothing but them

tokens = keras.Input(shape=(LENGTH,), dtype="int32", name="tokens")
about = backbone(
    {
        "token_ids": tokens,
        "segment_ids": keras.ops.zeros_like(tokens),
        "padding_mask": keras.ops.cast(keras.ops.not_equal(tokens, 0), "int32"),
    }
)
x = layers.Dropout(0.1)(about["pooled_output"])  # of what begins the text: it has looked at all words
model = keras.Model(tokens, layers.Dense(1, activation="sigmoid", name="good")(x))
model.summary()

x_train, y_train = reviews(arguments.reviews, seed=1)
x_val, y_val = reviews(1000, seed=2)
x_test, y_test = reviews(1000, seed=3)
model.compile(
    optimizer=keras.optimizers.AdamW(arguments.learning_rate, weight_decay=0.01),
    loss="binary_crossentropy",
    metrics=["accuracy"],
)
model.fit(x_train, y_train, batch_size=64, epochs=arguments.epochs, validation_data=(x_val, y_val), verbose=2)

loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
print(f"test: loss {loss:.3f}, accuracy {accuracy:.3f}")
