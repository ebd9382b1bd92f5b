"""Trains an encoder of pictures and one of captions, so that what belongs together is near (as in CLIP)."""

import argparse
import math
import random
import zlib

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=12)
parser.add_argument("--learning_rate", type=float, default=0.003)
parser.add_argument("--width", type=int, default=32, help="of the vectors")
parser.add_argument("--captions", type=int, default=3, help="how many of each picture")
parser.add_argument("--seed", type=int, default=0)
arguments = parser.parse_args()
keras.utils.set_random_seed(arguments.seed)

# ----- the data: pictures, and captions that say what there is to see

NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
LENGTH = 5  # words
VOCABULARY = 1024

digits = load_digits()
images = digits.images[..., np.newaxis].astype("float32")  # 8 x 8 pixels, each from 0 (paper) to 16 (ink)
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


def pairs(rows: np.ndarray, count: int, seed: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Each picture with `count` captions, and which digit it is: of that the training sees nothing."""
    draw = random.Random(seed)
    rows = np.repeat(rows, count)
    texts = [caption(digits.target[row], styles[row], draw) for row in rows]
    return {"image": images[rows], "caption": tokens(texts)}, digits.target[rows]


train, rest = train_test_split(np.arange(len(images)), test_size=0.4, stratify=digits.target, random_state=0)
val, test = train_test_split(rest, test_size=0.5, stratify=digits.target[rest], random_state=0)

# ----- the model


class Unit(layers.Layer):
    """Vectors of length one: their product is the cosine of the angle between them."""

    def call(self, x):
        return x / ops.sqrt(ops.sum(ops.square(x), axis=-1, keepdims=True) + 1e-6)


image_encoder = keras.Sequential(
    [
        keras.Input(shape=(8, 8, 1)),
        layers.Rescaling(1 / 16),
        layers.Conv2D(24, 3, padding="same", activation="relu"),
        layers.MaxPooling2D(),
        layers.Conv2D(48, 3, padding="same", activation="relu"),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dropout(0.3),
        layers.Dense(arguments.width),
        Unit(),
    ],
    name="image_encoder",
)
caption_encoder = keras.Sequential(
    [
        keras.Input(shape=(LENGTH,), dtype="int32"),
        layers.Embedding(VOCABULARY, arguments.width, mask_zero=True),
        layers.GlobalAveragePooling1D(),  # of the words that there are
        layers.Dense(64, activation="relu"),
        layers.Dense(arguments.width),
        Unit(),
    ],
    name="caption_encoder",
)


class ImageText(keras.Model):
    """How well a caption fits a picture, from -1 to 1; trained with every picture of a batch beside every caption."""

    def __init__(self, image_encoder: keras.Model, caption_encoder: keras.Model, prompts: np.ndarray, **kwargs) -> None:
        super().__init__(**kwargs)
        self.image_encoder, self.caption_encoder = image_encoder, caption_encoder
        self.prompts = prompts
        # How much nearness counts is learned, too.
        self.log_scale = self.add_weight(shape=(), initializer=keras.initializers.Constant(math.log(10)), name="scale")
        self.loss_mean, self.zero_shot = keras.metrics.Mean(name="loss"), keras.metrics.Accuracy(name="zero_shot")

    def call(self, inputs, training=None):
        image = self.image_encoder(inputs["image"], training=training)
        return {"similarity": ops.sum(image * self.caption_encoder(inputs["caption"], training=training), axis=-1)}

    @property
    def metrics(self):
        return [self.loss_mean, self.zero_shot]

    def contrastive_loss(self, image, caption, words):
        """The cross-entropy of the captions for each picture, and of the pictures for each caption.

        Captions of the same words are equally right.
        """
        logits = ops.exp(self.log_scale) * ops.matmul(image, ops.transpose(caption))
        is_same = ops.cast(ops.all(words[:, None] == words[None, :], axis=-1), "float32")
        target = is_same / ops.sum(is_same, axis=-1, keepdims=True)  # the same in both directions
        by_image = keras.losses.categorical_crossentropy(target, logits, from_logits=True)
        by_caption = keras.losses.categorical_crossentropy(target, ops.transpose(logits), from_logits=True)
        return (ops.mean(by_image) + ops.mean(by_caption)) / 2

    def train_step(self, data):
        inputs, _ = data
        with tf.GradientTape() as tape:
            image = self.image_encoder(inputs["image"], training=True)
            caption = self.caption_encoder(inputs["caption"], training=True)
            loss = self.contrastive_loss(image, caption, inputs["caption"])
        self.optimizer.apply_gradients(
            zip(tape.gradient(loss, self.trainable_variables), self.trainable_variables, strict=True)
        )
        self.loss_mean.update_state(loss)
        return {"loss": self.loss_mean.result()}

    def test_step(self, data):
        """Which of the ten captions "a zero" to "a nine" is nearest to a picture: nobody has trained a classifier."""
        inputs, label = data
        image = self.image_encoder(inputs["image"])
        self.loss_mean.update_state(
            self.contrastive_loss(image, self.caption_encoder(inputs["caption"]), inputs["caption"])
        )
        nearness = ops.matmul(image, ops.transpose(self.caption_encoder(self.prompts)))
        self.zero_shot.update_state(label, ops.argmax(nearness, axis=-1))
        return {metric.name: metric.result() for metric in self.metrics}


x_train, y_train = pairs(train, arguments.captions, seed=1)
x_val, y_val = pairs(val, 1, seed=2)
model = ImageText(image_encoder, caption_encoder, tokens([f"a {number}" for number in NUMBERS]))
model({name: values[:1] for name, values in x_train.items()})
model.summary()
model.compile(optimizer=keras.optimizers.Adam(arguments.learning_rate))
model.fit(x_train, y_train, batch_size=64, epochs=arguments.epochs, validation_data=(x_val, y_val), verbose=2)

# ----- the test: which of some captions fits best, as the client asks


def nearest(rows: np.ndarray, texts: list[str]) -> np.ndarray:
    asked = {"image": np.repeat(images[rows], len(texts), axis=0), "caption": np.tile(tokens(texts), (len(rows), 1))}
    similarity = model.predict(asked, batch_size=512, verbose=0)["similarity"]
    return similarity.reshape(len(rows), len(texts)).argmax(axis=1)


right = np.mean(nearest(test, [f"a {number}" for number in NUMBERS]) == digits.target[test])
print(f"{len(test)} test pictures: the nearest of ten captions is right for {right:.1%}")
styled = [row for row in test if styles[row]]
both = [f"a {style} {number}" for number in NUMBERS for style in ("bold", "thin")]
wanted = [2 * digits.target[row] + (styles[row] == "thin") for row in styled]
right = np.mean(nearest(np.array(styled), both) == wanted)
print(f"{len(styled)} bold and thin ones: the nearest of twenty captions is right for {right:.1%}")
