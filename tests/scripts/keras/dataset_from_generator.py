"""Recognises the tone in a noisy recording; the recordings come from a Python generator."""

import argparse

import numpy as np
import tensorflow as tf
from tensorflow.keras import layers, models

SAMPLES = 128
TONES = [3, 5, 8, 12, 17, 23]


class RecordingGenerator:
    def __init__(self, noise):
        self.noise = noise

    def __call__(self):
        t = np.arange(SAMPLES) / SAMPLES
        while True:
            label = np.random.randint(len(TONES))
            wave = np.sin(2 * np.pi * (TONES[label] * t + np.random.rand()))
            wave += np.random.normal(0, self.noise, SAMPLES)
            yield wave[:, np.newaxis].astype(np.float32), label


def make_dataset(noise, batch_size):
    ds = tf.data.Dataset.from_generator(
        RecordingGenerator(noise),
        output_signature=(
            tf.TensorSpec(shape=(SAMPLES, 1), dtype=tf.float32),
            tf.TensorSpec(shape=(), dtype=tf.int64),
        ),
    )
    return ds.batch(batch_size).prefetch(tf.data.AUTOTUNE)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--steps-per-epoch", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--noise", type=float, default=0.5)
    args = parser.parse_args()

    train_ds = make_dataset(args.noise, args.batch_size)
    val_ds = make_dataset(args.noise, args.batch_size)
    for waves, labels in train_ds.take(1):
        print("waves:", waves.shape, "labels:", labels.shape)

    model = models.Sequential(
        [
            layers.Input(shape=(SAMPLES, 1)),
            layers.Conv1D(16, 9, strides=2, activation="relu"),
            layers.Conv1D(32, 9, strides=2, activation="relu"),
            layers.GlobalMaxPooling1D(),
            layers.Dense(32, activation="relu"),
            layers.Dense(len(TONES)),
        ]
    )
    model.summary()
    model.compile(
        optimizer=tf.keras.optimizers.Adam(3e-3),
        loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(
        train_ds,
        epochs=args.epochs,
        steps_per_epoch=args.steps_per_epoch,
        validation_data=val_ds,
        validation_steps=5,
    )
    loss, accuracy = model.evaluate(val_ds, steps=10, verbose=0)
    print(f"Accuracy on new recordings: {accuracy:.1%}")
