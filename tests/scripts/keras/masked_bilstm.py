"""Sorts support messages into topics with a bidirectional LSTM over masked, padded words."""

import numpy as np
import tensorflow as tf
from tensorflow.keras import layers, models

topics = {
    "billing": "invoice refund charge payment card price twice receipt amount subscription",
    "delivery": "parcel courier late address tracking shipped box lost door package",
    "account": "password login email locked reset username code profile verify sign",
    "product": "broken screen battery button manual noise warranty repair cable charger",
}
filler = [
    "hello",
    "i",
    "have",
    "a",
    "problem",
    "with",
    "my",
    "the",
    "please",
    "help",
    "since",
    "yesterday",
    "not",
    "thanks",
]
names = list(topics)
max_tokens = 500


def write_message(topic):
    own = topics[topic].split()
    other = topics[np.random.choice(names)].split()
    words = []
    for _ in range(np.random.randint(5, 25)):
        source = np.random.choice(3, p=[0.72, 0.2, 0.08])
        words.append(np.random.choice([filler, own, other][source]))
    return " ".join(words)


labels = np.random.randint(0, len(names), size=960)
messages = [write_message(names[label]) for label in labels]
print(f"{names[labels[0]]}: {messages[0]}")

vectorize = layers.TextVectorization(max_tokens=max_tokens, output_mode="int", output_sequence_length=24)
vectorize.adapt(messages)
sequences = vectorize(tf.constant(messages)).numpy()
print("vocabulary:", len(vectorize.get_vocabulary()), "words")

model = models.Sequential(
    [
        layers.Input(shape=(None,), dtype="int64"),
        layers.Embedding(max_tokens, 32, mask_zero=True),
        layers.Bidirectional(layers.LSTM(16)),
        layers.Dense(32, activation="relu"),
        layers.Dropout(0.3),
        layers.Dense(len(names), activation="softmax"),
    ]
)
model.compile(optimizer=tf.keras.optimizers.Adam(0.003), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
model.summary()
model.fit(sequences, labels, epochs=6, batch_size=32, validation_split=0.2)

questions = ["my parcel is late and the courier lost the box", "please reset my password i have a locked login"]
for question, row in zip(questions, model.predict(vectorize(tf.constant(questions))), strict=True):
    print(f"{question!r}: {names[row.argmax()]} ({row.max():.2f})")
