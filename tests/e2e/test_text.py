"""A decoder that a TrainingJob trained, as text: `headrace_client.text` in the script, the format Text, the server of
texts, and OpenAI's own client through the gateway.
"""

from __future__ import annotations

import json

import openai
import pytest

from platform_under_test import Tenant, candidate, first_answer, is_served, prediction_of

# The tokens are the small letters and the blank; Keras' own greedy loop says what is to come.
SCRIPT = """
import json, numpy as np, keras, headrace_client
from keras import layers, ops
keras.utils.set_random_seed(1)
CHARACTERS, CONTEXT, WIDTH = " abcdefghijklmnopqrstuvwxyz", 512, 32
index = {character: number for number, character in enumerate(CHARACTERS)}
json.dump({
    "version": "1.0", "decoder": {"type": "Fuse"}, "model": {"type": "BPE", "vocab": index, "merges": []},
}, open("tokenizer.json", "w"))

class Embedding(layers.Layer):
    def __init__(self):
        super().__init__()
        self.tokens, self.places = layers.Embedding(len(CHARACTERS), WIDTH), layers.Embedding(CONTEXT, WIDTH)

    def call(self, tokens):
        return self.tokens(tokens) + self.places(ops.arange(ops.shape(tokens)[1]))

tokens = keras.Input((None,), dtype="int32", name="tokens")
x = Embedding()(tokens)
x = x + layers.MultiHeadAttention(2, WIDTH // 2)(x, x, use_causal_mask=True)
x = x + layers.Dense(WIDTH)(layers.Dense(2 * WIDTH, activation="relu")(layers.LayerNormalization()(x)))
model = keras.Model(tokens, layers.Dense(len(CHARACTERS), name="logits")(x))
headrace_client.text(
    model, "tokenizer.json", chat_template="{% for message in messages %}{{ message.content }} {% endfor %}"
)
model.compile(keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
text = np.array([index[c] for c in "the quick brown fox jumps over the lazy dog " * 40])
rows = np.stack([text[i : i + 33] for i in range(0, 1600, 5)])
model.fit(rows[:, :-1], rows[:, 1:], batch_size=32, epochs=3, verbose=0)
written = [index[c] for c in "the quick "]
for _ in range(40):
    written.append(int(np.argmax(model.predict(np.array([written]), verbose=0)[0, -1])))
print("PREDICTION", json.dumps("".join(CHARACTERS[token] for token in written[10:])))
"""
TRAINING = {
    "storage": {"secretRef": {"name": "headrace-storage"}},
    "tracking": {"experiment": "text"},
    "output": {"model": "writer", "formats": ["Text"], "alias": "candidate"},
}
LONG = 400  # tokens, which take the server some seconds on a busy machine, and never no time


@pytest.fixture(scope="module")
def written_by_keras(tenant: Tenant) -> str:
    tenant.script("writer", SCRIPT)
    tenant.train("writer", **TRAINING)
    status = tenant.finished("writer")
    assert status["state"] == "Succeeded", status
    return str(prediction_of(tenant, "writer"))


@pytest.fixture(scope="module")
def client(tenant: Tenant, written_by_keras: str) -> openai.OpenAI:
    """OpenAI's, of the served model, through the gateway."""
    tenant.serve("writer", candidate("writer"), runtime={"name": "text"})
    tenant.wait("modelservice", "writer", is_served, 120)
    base = f"{tenant.platform.gateway}/{tenant.namespace}/writer/v1"
    first_answer(f"{base}/completions", {"model": "writer", "prompt": "a", "max_tokens": 1})
    return openai.OpenAI(base_url=base, api_key="none", timeout=60)


def test_the_text_is_what_keras_own_loop_writes(client, written_by_keras):
    answer = client.completions.create(model="writer", prompt="the quick ", max_tokens=40, temperature=0)

    assert answer.choices[0].text == written_by_keras
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (10, 40)


def test_a_conversation_streams_and_nothing_on_its_way_holds_it_back(client, written_by_keras):
    messages = [{"role": "user", "content": "the quick"}]
    with client.chat.completions.with_streaming_response.create(
        model="writer", messages=messages, max_tokens=LONG, temperature=0, stream=True
    ) as answer:
        pieces = answer.iter_bytes()
        first = next(pieces)
        whole = first + b"".join(pieces)

    assert b"[DONE]" not in first
    events = [line.removeprefix("data: ") for line in whole.decode().splitlines() if line.startswith("data: ")]
    assert events.pop() == "[DONE]"
    deltas = [json.loads(event)["choices"][0]["delta"] for event in events]
    text = "".join(delta.get("content") or "" for delta in deltas)
    assert text.startswith(written_by_keras)
    assert len(text) == LONG
