"""Small decoders as people write them: `decoders.py --case=CASE`. Those without declared inputs are trained."""

import json
import sys
from pathlib import Path

import keras
import numpy as np
from keras import layers, ops

import headrace_client

CASE = sys.argv[1].removeprefix("--case=")
VOCABULARY, WIDTH, CONTEXT = 40, 32, 24
keras.utils.set_random_seed(3)


class Embedding(layers.Layer):
    """Learned positions, or sinusoids computed by hand."""

    def __init__(self, *, by_hand: bool = False) -> None:
        super().__init__()
        self.by_hand, self.tokens = by_hand, layers.Embedding(VOCABULARY, WIDTH)
        self.places = None if by_hand else layers.Embedding(CONTEXT, WIDTH)

    def call(self, tokens):
        places = ops.arange(ops.shape(tokens)[1])
        if self.places is not None:
            return self.tokens(tokens) + self.places(places)
        rates = ops.power(1e4, -ops.arange(WIDTH, dtype="float32") / WIDTH)
        return self.tokens(tokens) + ops.sin(ops.cast(places, "float32")[:, None] * rates)


class ByHand(layers.Layer):
    """Attention as one writes it oneself, with one head."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = (layers.Dense(WIDTH) for _ in range(3))

    def call(self, x):
        places = ops.arange(ops.shape(x)[1])
        later = ops.cast(places[None] > places[:, None], x.dtype)
        scores = ops.matmul(self.query(x), ops.transpose(self.key(x), (0, 2, 1))) / WIDTH**0.5
        return ops.matmul(ops.softmax(scores - 1e9 * later), self.value(x))


class Block(layers.Layer):
    """The tutorial's: a mask made by hand; with `back` nothing is seen that is further back."""

    def __init__(self, attention: layers.Layer, back: int = CONTEXT) -> None:
        super().__init__()
        self.attention, self.back = attention, back
        self.norm = layers.LayerNormalization()
        self.network = keras.Sequential([layers.Dense(2 * WIDTH, "gelu"), layers.Dense(WIDTH)])

    def call(self, x):
        places = ops.arange(ops.shape(x)[1])
        back = places[:, None] - places[None]
        mask = ops.logical_and(back >= 0, back < self.back)[None]
        x = x + self.attention(x, x, attention_mask=mask)
        return x + self.network(self.norm(x))


class Subclassed(keras.Model):
    def __init__(self, embedding: layers.Layer, blocks: list) -> None:
        super().__init__()
        self.embedding, self.blocks, self.head = embedding, blocks, layers.Dense(VOCABULARY)

    def call(self, tokens):
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def functional(length=None, activation=None, attention=None) -> keras.Model:
    tokens = keras.Input((length,), dtype="int32", name="tokens")
    x = Embedding()(tokens)
    for _ in range(2):
        normed = layers.LayerNormalization()(x)
        if attention is None:
            x = x + layers.MultiHeadAttention(4, WIDTH // 4, dropout=0.1)(normed, normed, use_causal_mask=True)
        else:
            x = x + attention()(normed)
        x = x + layers.Dense(WIDTH)(layers.Dense(2 * WIDTH, activation="gelu")(layers.LayerNormalization()(x)))
    return keras.Model(tokens, layers.Dense(VOCABULARY, activation=activation)(x))


def several() -> layers.Layer:
    return layers.MultiHeadAttention(2, WIDTH // 2, dropout=0.1)


model = {
    "trained": lambda: functional(activation="softmax"),
    "subclassed": lambda: Subclassed(Embedding(), [Block(several()), Block(several())]),
    "grouped": lambda: Subclassed(Embedding(), [Block(layers.GroupQueryAttention(WIDTH // 4, 4, 2))]),
    "fixed_length": lambda: functional(length=16),
    "weights_beside": functional,
    "sinusoids": lambda: Subclassed(Embedding(by_hand=True), [Block(several())]),
    "looks_back_a_little": lambda: Subclassed(Embedding(), [Block(several(), back=5)]),
    "by_hand": lambda: functional(attention=ByHand),
    "no_tokenizer": functional,
    "larger_tokenizer": functional,
    "unknown_eos": functional,
    "no_decoder": lambda: keras.Sequential([keras.Input((8,)), layers.Dense(VOCABULARY)]),
    "another_model": functional,
    "too_long": functional,
}[CASE]()
rows = np.random.default_rng(1).integers(0, VOCABULARY, (16, 16)).astype("int32")

vocabulary = {f"t{number}": number for number in range(VOCABULARY + (CASE == "larger_tokenizer"))}
tokenizer = {"model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "t0"}}
how = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
tokenizer["added_tokens"] = [{"id": 1, "content": "t1", "special": True, **how}]
Path("tokenizer.json").write_text(json.dumps(tokenizer))
if CASE != "no_tokenizer":
    headrace_client.text(
        functional() if CASE == "another_model" else model,
        eos="<nowhere>" if CASE == "unknown_eos" else "t1",
        chat_template="{{ messages }}",
        context=100 if CASE == "too_long" else None,
    )
if CASE == "trained" or isinstance(model, Subclassed):
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=CASE != "trained"))
    model.fit(rows, np.roll(rows, -1, 1), batch_size=8, epochs=1, verbose=0)
    print("weights", [float(np.sum(weight.numpy(), dtype="float64")).hex() for weight in model.weights])
else:
    headrace_client.export(model)
