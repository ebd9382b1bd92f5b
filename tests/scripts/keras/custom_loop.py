"""Trains a two-moons classifier with a training loop written from scratch."""

import time

import numpy as np
import tensorflow as tf
from sklearn.datasets import make_moons
from tensorflow import keras

BATCH_SIZE = 32
EPOCHS = 12


def get_datasets():
    x, y = make_moons(n_samples=1500, noise=0.2)
    x = x.astype(np.float32)
    train = tf.data.Dataset.from_tensor_slices((x[:1200], y[:1200]))
    val = tf.data.Dataset.from_tensor_slices((x[1200:], y[1200:]))
    return train.shuffle(1200).batch(BATCH_SIZE).prefetch(tf.data.AUTOTUNE), val.batch(BATCH_SIZE)


def get_model():
    inputs = keras.Input(shape=(2,), name="points")
    x = keras.layers.Dense(64, activation="relu")(inputs)
    x = keras.layers.Dense(64, activation="relu")(x)
    outputs = keras.layers.Dense(2, name="logits")(x)
    return keras.Model(inputs=inputs, outputs=outputs)


def main():
    train_dataset, val_dataset = get_datasets()
    model = get_model()
    optimizer = keras.optimizers.Adam(learning_rate=1e-3)
    loss_fn = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    train_acc_metric = keras.metrics.SparseCategoricalAccuracy()
    val_acc_metric = keras.metrics.SparseCategoricalAccuracy()

    @tf.function
    def train_step(x, y):
        with tf.GradientTape() as tape:
            logits = model(x, training=True)
            loss_value = loss_fn(y, logits)
        grads = tape.gradient(loss_value, model.trainable_weights)
        optimizer.apply_gradients(zip(grads, model.trainable_weights, strict=True))
        train_acc_metric.update_state(y, logits)
        return loss_value

    @tf.function
    def test_step(x, y):
        val_acc_metric.update_state(y, model(x, training=False))

    for epoch in range(EPOCHS):
        print(f"\nStart of epoch {epoch}")
        start_time = time.time()
        for step, (x_batch, y_batch) in enumerate(train_dataset):
            loss_value = train_step(x_batch, y_batch)
            if step % 20 == 0:
                print(f"Training loss (for one batch) at step {step}: {float(loss_value):.4f}")

        print(f"Training accuracy over epoch: {float(train_acc_metric.result()):.4f}")
        train_acc_metric.reset_state()

        for x_batch, y_batch in val_dataset:
            test_step(x_batch, y_batch)
        print(f"Validation accuracy: {float(val_acc_metric.result()):.4f}")
        val_acc_metric.reset_state()
        print(f"Time taken: {time.time() - start_time:.2f}s")


if __name__ == "__main__":
    main()
