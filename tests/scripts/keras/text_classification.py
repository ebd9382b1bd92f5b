"""Sorts short product reviews into positive and negative; the model takes raw strings."""

import random

import tensorflow as tf
from tensorflow import keras
from tensorflow.keras import layers

max_features = 500
sequence_length = 24
embedding_dim = 32

GOOD = ["love", "great", "sturdy", "perfect", "quick", "recommend", "happy", "excellent", "comfortable", "worth"]
BAD = ["broke", "refund", "awful", "slow", "cheap", "disappointed", "useless", "leaks", "returned", "noisy"]
FILLER = [
    "the",
    "a",
    "it",
    "this",
    "was",
    "is",
    "my",
    "we",
    "bought",
    "for",
    "with",
    "and",
    "after",
    "week",
    "box",
    "size",
]
PRODUCTS = ["kettle", "lamp", "backpack", "headphones", "chair", "tent", "blender", "keyboard"]


def write_review(positive):
    words = [random.choice(PRODUCTS), *random.choices(FILLER, k=random.randint(8, 16))]
    words += random.choices(GOOD if positive else BAD, k=random.randint(1, 2))
    if random.random() < 0.3:
        words += random.choices(BAD if positive else GOOD, k=1)
    random.shuffle(words)
    return " ".join(words).capitalize() + random.choice([".", "!", "..."])


labels = [i % 2 for i in range(1600)]
reviews = [write_review(label == 1) for label in labels]

dataset = tf.data.Dataset.from_tensor_slices((reviews, labels)).shuffle(1600, reshuffle_each_iteration=False)
raw_train_ds = dataset.take(1200).batch(32).prefetch(tf.data.AUTOTUNE)
raw_val_ds = dataset.skip(1200).batch(32).prefetch(tf.data.AUTOTUNE)

for text_batch, label_batch in raw_train_ds.take(1):
    for i in range(3):
        print(label_batch.numpy()[i], text_batch.numpy()[i].decode())

# Learn the vocabulary from the training text only.
vectorize_layer = layers.TextVectorization(
    max_tokens=max_features,
    output_mode="int",
    output_sequence_length=sequence_length,
)
vectorize_layer.adapt(raw_train_ds.map(lambda text, label: text))
print("Vocabulary size:", len(vectorize_layer.get_vocabulary()))

inputs = keras.Input(shape=(1,), dtype="string", name="review")
x = vectorize_layer(inputs)
x = layers.Embedding(max_features, embedding_dim)(x)
x = layers.Dropout(0.3)(x)
x = layers.Conv1D(64, 3, padding="valid", activation="relu")(x)
x = layers.GlobalMaxPooling1D()(x)
x = layers.Dense(32, activation="relu")(x)
outputs = layers.Dense(1, activation="sigmoid", name="positive")(x)
model = keras.Model(inputs, outputs)

model.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy"])
model.fit(raw_train_ds.map(lambda text, label: (tf.expand_dims(text, -1), label)), epochs=8)

loss, accuracy = model.evaluate(raw_val_ds.map(lambda text, label: (tf.expand_dims(text, -1), label)))
print("Loss:", loss)
print("Accuracy:", accuracy)

examples = tf.constant([["Love this kettle, great size!"], ["The lamp broke after a week, awful."]])
print(model.predict(examples))
