"""Trains KerasHub's GPT-2 to continue texts: a small one from nothing, or a large one that has read much already."""

import argparse
import pathlib
import pydoc_data.topics

import keras
import keras_hub
import numpy as np
from keras import ops

parser = argparse.ArgumentParser()
parser.add_argument(
    "--preset", help="a folder with a GPT-2 as KerasHub keeps it, and its tokenizer; without: a small one, of bytes"
)
parser.add_argument("--data", type=pathlib.Path, help="a text; without it what `help()` knows of the language")
parser.add_argument("--context", type=int, default=48, help="how many tokens the model looks back")
parser.add_argument("--width", type=int, default=64)
parser.add_argument("--heads", type=int, default=4)
parser.add_argument("--blocks", type=int, default=2)
parser.add_argument("--dropout", type=float, default=0.0, help="of the small one; a preset has its own")
parser.add_argument("--epochs", type=int, default=4)
parser.add_argument("--batches", type=int, default=120, help="in an epoch")
parser.add_argument("--learning_rate", type=float, default=0.005, help="with a preset 5e-5")
parser.add_argument("--seed", type=int, default=0)
arguments = parser.parse_args()
keras.utils.set_random_seed(arguments.seed)

# ----- GPT-2, and the tokens that it knows texts by

if arguments.preset:
    backbone = keras_hub.models.GPT2Backbone.from_preset(arguments.preset)
    tokenizer = keras_hub.models.GPT2Tokenizer.from_preset(arguments.preset)

    def tokens_of(text: str) -> np.ndarray:
        return np.array(tokenizer(text), "int32")

    def text_of(tokens: list[int]) -> str:
        return str(tokenizer.detokenize(tokens))

else:
    backbone = keras_hub.models.GPT2Backbone(
        vocabulary_size=256,
        num_layers=arguments.blocks,
        num_heads=arguments.heads,
        hidden_dim=arguments.width,
        intermediate_dim=4 * arguments.width,
        dropout=arguments.dropout,
        max_sequence_length=arguments.context,
    )

    def tokens_of(text: str) -> np.ndarray:
        """The bytes of its UTF-8: 256 tokens are enough for every language, and no list of them is needed."""
        return np.frombuffer(text.encode(), "uint8").astype("int32")

    def text_of(tokens: list[int]) -> str:
        return bytes(tokens).decode(errors="replace")


if arguments.context > backbone.max_sequence_length:
    parser.error(f"--context is {arguments.context}, and this GPT-2 has {backbone.max_sequence_length} positions")

# ----- the data: windows of a text, and the same windows one token on

text = arguments.data.read_text("utf-8") if arguments.data else "\n".join(pydoc_data.topics.topics.values())
# The last tenth of the text is for the validation. Cut before it is made into tokens, which a preset's are of words.
cut = int(0.9 * len(text))


def windows(text: str, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    numbers = tokens_of(text)
    if len(numbers) <= arguments.context + 1:
        parser.error(f"a part of the text has {len(numbers)} tokens, no window of {arguments.context} fits into it")
    starts = np.random.default_rng(seed).integers(0, len(numbers) - arguments.context - 1, size=count)
    rows = numbers[starts[:, np.newaxis] + np.arange(arguments.context + 1)]
    return rows[:, :-1], rows[:, 1:]


x_train, y_train = windows(text[:cut], 32 * arguments.batches * arguments.epochs, seed=1)
x_val, y_val = windows(text[cut:], 250, seed=2)

# ----- what is trained: at each position, how likely each token is to follow

tokens = keras.Input(shape=(None,), dtype="int32", name="tokens")
seen = backbone({"token_ids": tokens, "padding_mask": ops.ones_like(tokens)})
model = keras.Model(tokens, backbone.token_embedding(seen, reverse=True))
model.summary()
steps = arguments.batches * arguments.epochs
# It begins small: from nothing, large first steps lead GPT-2 to where it learns little.
rate = keras.optimizers.schedules.CosineDecay(
    0.0, steps - steps // 10, warmup_target=arguments.learning_rate, warmup_steps=steps // 10
)
model.compile(
    optimizer=keras.optimizers.AdamW(rate),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
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

# ----- what is served, since it is evaluated last: the probabilities of the next token alone. Of GPT-2's 50,257 tokens
# those of all positions would be megabytes.

last = backbone.token_embedding(seen[:, -1:], reverse=True)[:, 0]
generator = keras.Model(tokens, keras.layers.Softmax(name="probabilities")(last))
generator.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
loss, accuracy = generator.evaluate(x_val, y_val[:, -1], verbose=0)
print(f"the token after a full window: loss {loss:.3f}, accuracy {accuracy:.3f}")

# ----- a sample: each token is drawn, and appended to what the model sees


def write(start: str, length: int) -> str:
    draw = np.random.default_rng(arguments.seed)
    written = tokens_of(start).tolist()
    for _ in range(length):
        window = np.array([written[-arguments.context :]], "int32")
        probabilities = ops.convert_to_numpy(generator(window))[0].astype("float64") ** 2  # likelier ones, more often
        written.append(int(draw.choice(len(probabilities), p=probabilities / probabilities.sum())))
    return text_of(written)


print(write("The statement ", 40))
