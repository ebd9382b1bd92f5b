"""Trains a small diffusion model that draws digits from words."""

import argparse
import random
import zlib

import keras
import numpy as np
from keras import layers, ops
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=30)
parser.add_argument("--learning_rate", type=float, default=0.002)
parser.add_argument("--width", type=int, default=128)
parser.add_argument("--blocks", type=int, default=3)
parser.add_argument("--steps", type=int, default=20, help="in which a picture is drawn")
parser.add_argument("--guidance", type=float, default=1.5, help="how much the words count; 1: as learned")
parser.add_argument("--seed", type=int, default=0)
arguments = parser.parse_args()
keras.utils.set_random_seed(arguments.seed)

# ----- the data: pictures with captions, and more or less noise over them

NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
LENGTH = 5  # words
VOCABULARY = 1024

digits = load_digits()
images = (digits.images[..., np.newaxis] / 8 - 1).astype("float32")  # 8 x 8 pixels, each from -1 (paper) to 1 (ink)
ink = images.sum(axis=(1, 2, 3))
# Bold and thin are the third of a digit's pictures with the most ink, and that with the least.
thirds = np.array([np.quantile(ink[digits.target == digit], [1 / 3, 2 / 3]) for digit in range(10)])[digits.target]
styles = np.where(ink > thirds[:, 1], "bold", np.where(ink < thirds[:, 0], "thin", ""))


def caption(digit: int, style: str, draw: random.Random) -> str:
    """In one of several forms; every other one leaves out whether the digit is bold."""
    form = draw.choice(["a {} {}", "the {} number {}", "somebody wrote a {} {}", "{} {}"])
    return form.format(draw.choice([style, ""]), NUMBERS[digit])


def tokens_of(text: str) -> list[int]:
    """A number for each word, without a list of words: its checksum. 0 is for what is left of LENGTH."""
    numbers = [1 + zlib.crc32(word.encode()) % (VOCABULARY - 1) for word in text.lower().split()][:LENGTH]
    return numbers + [0] * (LENGTH - len(numbers))


def tokens(texts: list[str]) -> np.ndarray:
    return np.array([tokens_of(text) for text in texts], "int32")


class Noisy(keras.utils.PyDataset):
    """Pictures under noise, and what is below it. Each batch of each epoch has noise of its own; one caption in ten is
    left out, so that the model also learns to draw any digit.
    """

    def __init__(self, rows: np.ndarray, seed: int, is_fixed: bool = False) -> None:
        super().__init__()
        self.rows, self.seed, self.epoch, self.is_fixed = rows, seed, 0, is_fixed
        draw = random.Random(seed)
        texts = [caption(digits.target[row], styles[row], draw) for row in range(len(images))]
        self.captions = tokens(texts)

    def __len__(self) -> int:
        return len(self.rows) // 64

    def on_epoch_end(self) -> None:
        self.epoch += not self.is_fixed

    def __getitem__(self, batch: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
        draw = np.random.default_rng((self.seed, self.epoch, batch))
        rows = np.random.default_rng((self.seed, self.epoch)).permutation(self.rows)[batch * 64 :][:64]
        share = draw.uniform(size=(64, 1)).astype("float32")
        angle = share[..., np.newaxis, np.newaxis] * np.pi / 2
        noise = draw.normal(size=images[rows].shape)
        noisy = (np.cos(angle) * images[rows] + np.sin(angle) * noise).astype("float32")
        is_left_out = draw.uniform(size=(64, 1)) < 0.1
        words = np.where(is_left_out, 0, self.captions[rows])
        return {"picture": noisy, "noise": share, "caption": words.astype("int32")}, images[rows]


rows = np.random.default_rng(0).permutation(len(images))
train, val = rows[:-320], rows[-320:]

# ----- the model: a noisy picture, how much of it is noise (0 to 1) and words -> the picture below the noise

picture = keras.Input(shape=(8, 8, 1), name="picture")
noise = keras.Input(shape=(1,), name="noise")
words = keras.Input(shape=(LENGTH,), dtype="int32", name="caption")

is_word = ops.cast(ops.not_equal(words, 0), "float32")[..., None]
about = ops.sum(layers.Embedding(VOCABULARY, 64)(words) * is_word, axis=1)
waves = ops.concatenate([ops.sin(noise * 2**k * np.pi / 2) for k in range(4)] + [ops.cos(noise * np.pi / 2)], axis=-1)
about = layers.Dense(arguments.width, activation="silu")(ops.concatenate([about, waves], axis=-1))

x = layers.Dense(arguments.width)(layers.Flatten()(picture))
for _ in range(arguments.blocks):
    y = layers.Dense(arguments.width, activation="silu")(
        layers.LayerNormalization()(x) + layers.Dense(arguments.width)(about)
    )
    x = x + layers.Dense(arguments.width)(y)
x = layers.Dense(64)(layers.LayerNormalization()(x))
model = keras.Model([picture, noise, words], layers.Reshape((8, 8, 1), name="clean")(x))
model.summary()

seen, unseen = Noisy(train, seed=1), Noisy(val, seed=2, is_fixed=True)
model.compile(
    optimizer=keras.optimizers.Adam(
        keras.optimizers.schedules.CosineDecay(arguments.learning_rate, arguments.epochs * len(seen))
    ),
    loss="mse",
)

# ----- to draw: begin with noise alone, and go on a little towards what the model sees below it, again and again


def drawn(texts: list[str], seed: int) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(len(texts), 8, 8, 1)).astype("float32")
    with_words, without = tokens(texts), tokens([""] * len(texts))
    for step in range(arguments.steps, 0, -1):
        now, then = (np.pi / 2 * share / arguments.steps for share in (step, step - 1))
        share = np.full((len(texts), 1), step / arguments.steps, "float32")
        guided, free = (
            model.predict_on_batch({"picture": x, "noise": share, "caption": words}) for words in (with_words, without)
        )
        clean = np.clip(free + arguments.guidance * (guided - free), -1, 1)
        x = np.cos(then) * clean + np.sin(then) * (x - np.cos(now) * clean) / np.sin(now)
    return x


# A reader of digits that has learned from the same pictures and never saw a drawn one.
reader = LogisticRegression(max_iter=300).fit(images[train].reshape(-1, 64), digits.target[train])
# Asked for in words: each digit twenty times.
wanted = np.arange(200) % 10
asked = [f"a {NUMBERS[digit]}" for digit in wanted]


class Drawn(keras.callbacks.Callback):
    """After the last epoch: in how many of 200 drawings the reader finds what was asked for."""

    def on_epoch_end(self, epoch, logs=None):
        if epoch == self.params["epochs"] - 1:
            logs["val_drawn"] = float(np.mean(reader.predict(drawn(asked, seed=3).reshape(-1, 64)) == wanted))


model.fit(seen, epochs=arguments.epochs, validation_data=unseen, callbacks=[Drawn()], verbose=2)

# ----- are the drawings new ones, and do they listen to the other words?


def nearest(pictures: np.ndarray) -> float:
    """How far the nearest picture of the training is, in the median."""
    apart = pictures[:, np.newaxis] - images[train].reshape(1, -1, 64)
    return float(np.median(np.sqrt(np.square(apart).sum(axis=2)).min(axis=1)))


real = images[val].reshape(-1, 64)
print(f"of the real pictures the reader reads {reader.score(real, digits.target[val]):.1%}")
apart = nearest(drawn(asked, seed=4).reshape(-1, 64))
print(f"the nearest picture of the training: {apart:.2f} from a drawing, {nearest(real):.2f} from a real one")
for style in ("bold", "thin"):
    drawings, known = drawn([f"a {style} {NUMBERS[digit]}" for digit in wanted], seed=5), images[styles == style]
    ours, theirs = (8 * np.mean(pictures + 1) for pictures in (drawings, known))
    print(f"{style}: mean ink {ours:.1f} of 16 in the drawings, {theirs:.1f} in the data")
