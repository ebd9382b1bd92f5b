"""Learns whether two signatures come from the same hand, with a siamese network and contrastive loss."""

import random

import keras
import numpy as np
from keras import layers, ops

NUM_WRITERS = 12
SIGNATURES_PER_WRITER = 30
MARGIN = 1.0


def make_signatures():
    """A signature is a curve sampled at 40 points; every writer has a curve of their own."""
    t = np.linspace(0, 2 * np.pi, 40)
    writers = []
    for _ in range(NUM_WRITERS):
        amplitude = np.random.normal(size=(4, 2))
        phase = np.random.uniform(0, 2 * np.pi, size=(4, 2))
        curve = sum(amplitude[k] * np.sin((k + 1) * t[:, None] + phase[k]) for k in range(4))
        writers.append(curve + np.random.normal(0, 0.4, size=(SIGNATURES_PER_WRITER, 40, 2)))
    return np.array(writers, dtype="float32")


def make_pairs(signatures):
    left, right, labels = [], [], []
    for writer in range(len(signatures)):
        for signature in signatures[writer]:
            # a genuine pair has label 0, a forged one label 1
            left.append(signature)
            right.append(random.choice(signatures[writer]))
            labels.append(0.0)
            other = random.choice([w for w in range(len(signatures)) if w != writer])
            left.append(signature)
            right.append(random.choice(signatures[other]))
            labels.append(1.0)
    order = np.random.permutation(len(labels))
    return np.array(left)[order], np.array(right)[order], np.array(labels, dtype="float32")[order]


def euclidean_distance(vectors):
    x, y = vectors
    squared = ops.sum(ops.square(x - y), axis=1, keepdims=True)
    return ops.sqrt(ops.maximum(squared, keras.backend.epsilon()))


def contrastive_loss(margin=1.0):
    def loss(y_true, y_pred):
        return ops.mean((1 - y_true) * ops.square(y_pred) + y_true * ops.square(ops.maximum(margin - y_pred, 0)))

    return loss


signatures = make_signatures()
train = make_pairs(signatures[:, :24])
val = make_pairs(signatures[:, 24:])

tower_input = layers.Input((40, 2))
x = layers.Conv1D(16, 5, strides=2, activation="relu")(tower_input)
x = layers.Conv1D(32, 5, strides=2, activation="relu")(x)
x = layers.Flatten()(x)
tower_output = layers.Dense(16)(x)
embedding_network = keras.Model(tower_input, tower_output, name="tower")

input_1 = layers.Input((40, 2), name="left")
input_2 = layers.Input((40, 2), name="right")
merged = layers.Lambda(euclidean_distance, output_shape=(1,))([embedding_network(input_1), embedding_network(input_2)])
siamese = keras.Model(inputs=[input_1, input_2], outputs=merged)

siamese.compile(loss=contrastive_loss(margin=MARGIN), optimizer="adam")
siamese.summary()
siamese.fit([train[0], train[1]], train[2], validation_data=([val[0], val[1]], val[2]), batch_size=16, epochs=12)

distances = siamese.predict([val[0], val[1]])[:, 0]
accuracy = np.mean((distances > MARGIN / 2) == val[2])
print(f"validation accuracy at distance {MARGIN / 2}: {accuracy:.3f}")
