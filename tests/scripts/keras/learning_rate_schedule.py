"""Fits house prices with a learning rate that falls on plateaus, and stops early."""

import argparse

import numpy as np
from tensorflow import keras
from tensorflow.keras.callbacks import CSVLogger, EarlyStopping, ReduceLROnPlateau


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--learning-rate", type=float, default=0.02)
    parser.add_argument("--patience", type=int, default=4)
    parser.add_argument("--log", default="training.csv")
    return parser.parse_args()


def load_houses(count=6000):
    rng = np.random.default_rng(42)
    area = rng.uniform(30, 250, size=count)
    rooms = np.round(area / 28 + rng.normal(0, 0.7, size=count)).clip(1)
    year = rng.integers(1900, 2024, size=count)
    distance = rng.exponential(8, size=count)
    garden = rng.integers(0, 2, size=count)
    price = 60 + 2.4 * area + 9 * rooms + 0.4 * (year - 1900) + 35 * garden
    price = price * np.exp(-distance / 25) + rng.normal(0, 12, size=count)
    features = np.stack([area, rooms, year, distance, garden], axis=1).astype("float32")
    return features, price.astype("float32")


def build_model(features):
    normalize = keras.layers.Normalization()
    normalize.adapt(features)
    return keras.Sequential(
        [
            keras.Input(shape=(features.shape[1],)),
            normalize,
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(1),
        ]
    )


def main():
    args = parse_args()
    keras.utils.set_random_seed(42)
    x, y = load_houses()
    split = int(0.8 * len(x))
    x_train, y_train, x_test, y_test = x[:split], y[:split], x[split:], y[split:]

    model = build_model(x_train)
    model.compile(
        optimizer=keras.optimizers.Adam(args.learning_rate),
        loss="mse",
        metrics=["mae"],
    )
    callbacks = [
        ReduceLROnPlateau(monitor="val_loss", factor=0.3, patience=1, min_lr=1e-5, verbose=1),
        EarlyStopping(monitor="val_loss", patience=args.patience, restore_best_weights=True, verbose=1),
        CSVLogger(args.log),
    ]
    model.fit(
        x_train,
        y_train,
        epochs=args.epochs,
        batch_size=args.batch_size,
        validation_split=0.2,
        callbacks=callbacks,
        verbose=2,
    )

    loss, mae = model.evaluate(x_test, y_test, verbose=0)
    print(f"Test loss: {loss:.1f}, off by {mae:.1f} thousand on average")
    print(f"Log of the epochs: {args.log}")


if __name__ == "__main__":
    main()
