"""Classifies machine event sequences, and also returns where the attention looked."""

import numpy as np
import tensorflow as tf
from tensorflow import keras
from tensorflow.keras import layers

NUM_EVENTS = 60
LENGTH = 24


def make_logs(count):
    """A log is faulty if event 7 comes up somewhere, unless an operator reset (event 3) comes later."""
    logs = np.random.randint(8, NUM_EVENTS, size=(count, LENGTH))
    labels = np.zeros(count, dtype="float32")
    for i in range(count):
        kind = np.random.randint(0, 4)
        first, second = np.sort(np.random.choice(LENGTH, size=2, replace=False))
        if kind == 0:
            logs[i, second] = 3
        elif kind == 1:
            logs[i, first], logs[i, second] = 7, 3
        else:
            logs[i, first] = 7
            labels[i] = 1.0
    return logs, labels


def build_model():
    events = keras.Input(shape=(LENGTH,), dtype="int32", name="events")
    x = layers.Embedding(NUM_EVENTS, 32)(events)
    x = layers.Conv1D(32, 3, padding="same", activation="relu")(x)
    attended, scores = layers.MultiHeadAttention(num_heads=2, key_dim=16, name="attention")(
        x, x, return_attention_scores=True
    )
    x = layers.LayerNormalization()(x + attended)
    x = layers.GlobalMaxPooling1D()(x)
    x = layers.Dense(32, activation="relu")(x)
    fault = layers.Dense(1, activation="sigmoid", name="fault")(x)
    return keras.Model(inputs=events, outputs=[fault, scores], name="fault_finder")


def main():
    x_train, y_train = make_logs(1024)
    x_val, y_val = make_logs(256)

    model = build_model()
    model.summary()
    # Only the first output is trained, the scores are there to look at.
    model.compile(
        optimizer="adam",
        loss=["binary_crossentropy", None],
        metrics=[["accuracy"], None],
    )
    train = tf.data.Dataset.from_tensor_slices((x_train, y_train)).shuffle(1024).batch(32)
    val = tf.data.Dataset.from_tensor_slices((x_val, y_val)).batch(32)
    train = train.map(lambda x, y: (x, (y, tf.zeros_like(y))))
    val = val.map(lambda x, y: (x, (y, tf.zeros_like(y))))
    model.fit(train, epochs=6, validation_data=val)

    fault, scores = model.predict(x_val[:3])
    for log, probability, score in zip(x_val, fault[:, 0], scores, strict=False):
        looked_at = score.mean(axis=(0, 1)).argsort()[-3:][::-1]
        print(f"fault {probability:.2f}, looked most at", [(int(place), int(log[place])) for place in looked_at])


if __name__ == "__main__":
    main()
