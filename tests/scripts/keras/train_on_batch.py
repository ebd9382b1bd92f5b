"""Trains a credit scoring network in an own loop over numpy batches."""

import argparse
import time

import keras
import numpy as np


def load_applicants(count):
    x = np.random.normal(size=(count, 20)).astype("float32")
    risk = 1.5 * x[:, 0] - x[:, 1] + 0.8 * x[:, 2] * x[:, 3] + 0.5 * np.abs(x[:, 4])
    y = (risk + np.random.normal(0, 0.5, size=count) > 0.4).astype("float32")
    return x, y[:, None]


def batches(x, y, batch_size, shuffle=False):
    order = np.random.permutation(len(x)) if shuffle else np.arange(len(x))
    for start in range(0, len(x), batch_size):
        chosen = order[start : start + batch_size]
        yield x[chosen], y[chosen]


def build_model():
    model = keras.Sequential(
        [
            keras.Input(shape=(20,)),
            keras.layers.Dense(192, activation="relu"),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(192, activation="relu"),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy"])
    return model


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--batch_size", type=int, default=128)
    args = parser.parse_args()

    x_train, y_train = load_applicants(5120)
    x_test, y_test = load_applicants(1024)
    model = build_model()

    best = float("inf")
    for epoch in range(args.epochs):
        started = time.time()

        train_scores = []
        for x, y in batches(x_train, y_train, args.batch_size, shuffle=True):
            train_scores.append(model.train_on_batch(x, y))

        test_scores = []
        for x, y in batches(x_test, y_test, args.batch_size):
            test_scores.append(model.test_on_batch(x, y))

        loss, accuracy = np.mean(train_scores, axis=0)
        test_loss, test_accuracy = np.mean(test_scores, axis=0)
        print(
            f"epoch {epoch + 1:2d}/{args.epochs}"
            f"  loss {loss:.4f}  accuracy {accuracy:.3f}"
            f"  test loss {test_loss:.4f}  test accuracy {test_accuracy:.3f}"
            f"  {time.time() - started:.1f}s"
        )
        if test_loss < best:
            best = test_loss
            model.save_weights("best.weights.h5")

    model.load_weights("best.weights.h5")
    print(f"lowest test loss: {best:.4f}")


if __name__ == "__main__":
    main()
