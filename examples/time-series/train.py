"""Forecasts the next day of an hourly series from the week before."""

import argparse

import keras
import numpy as np
from keras import layers

DAY = 24
WINDOW = 7 * DAY

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=12)
parser.add_argument("--learning_rate", type=float, default=0.002)
parser.add_argument("--filters", type=int, default=24)
parser.add_argument("--days", type=int, default=365, help="of the series that is made")
parser.add_argument("--seed", type=int, default=0)
arguments = parser.parse_args()
keras.utils.set_random_seed(arguments.seed)


def demand(days: int) -> np.ndarray:
    """Megawatts for each hour: days, weekends, seasons, the weather of some days, and noise."""
    draw = np.random.default_rng(1)
    hour = np.arange(days * DAY)
    daily = 12 * np.sin(2 * np.pi * (hour - 8) / DAY) + 5 * np.sin(4 * np.pi * (hour - 2) / DAY)
    weekend = np.where(hour // DAY % 7 >= 5, -15.0, 0.0)
    season = 10 * np.cos(2 * np.pi * hour / (365 * DAY))
    weather = np.zeros(days)
    for day in range(1, days):
        weather[day] = 0.8 * weather[day - 1] + draw.normal(0, 3)
    return 80 + daily + weekend + season + np.repeat(weather, DAY) + draw.normal(0, 1.5, size=len(hour))


def windows(series: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weeks of (rows, WINDOW), and the day after each, (rows, DAY); one of each begins every third hour."""
    rows = np.lib.stride_tricks.sliding_window_view(series, WINDOW + DAY)[::3]
    return rows[:, :WINDOW].astype("float32"), rows[:, WINDOW:].astype("float32")


# In the order of time, and no window in two parts: the validation is the future of the training.
series = demand(arguments.days)
first, second = int(0.7 * len(series)), int(0.85 * len(series))
x_train, y_train = windows(series[:first])
x_val, y_val = windows(series[first:second])
x_test, y_test = windows(series[second:])

mean, deviation = float(x_train.mean()), float(x_train.std())
model = keras.Sequential(
    [
        keras.Input(shape=(WINDOW,), name="week"),
        layers.Rescaling(1 / deviation, offset=-mean / deviation),
        layers.Reshape((WINDOW, 1)),
        layers.Conv1D(arguments.filters, 7, strides=2, padding="same", activation="relu"),
        layers.Conv1D(arguments.filters, 5, strides=2, padding="same", activation="relu"),
        layers.Flatten(),
        layers.Dense(64, activation="relu"),
        layers.Dense(DAY),
        # In megawatts again: what is served needs no scaling by its clients.
        layers.Rescaling(deviation, offset=mean, name="day"),
    ]
)
model.summary()
model.compile(optimizer=keras.optimizers.Adam(arguments.learning_rate), loss="mae")
model.fit(x_train, y_train, batch_size=64, epochs=arguments.epochs, validation_data=(x_val, y_val), verbose=2)


def error(forecast: np.ndarray, day: np.ndarray) -> float:
    """In megawatts, on average."""
    return float(np.abs(forecast - day).mean())


for part, x, y in (("validation", x_val, y_val), ("test", x_test, y_test)):
    print(
        f"{part}: the model is wrong by {error(model.predict(x, verbose=0), y):.2f} MW, "
        f"`as yesterday` by {error(x[:, -DAY:], y):.2f}, `as a week ago` by {error(x[:, :DAY], y):.2f}"
    )
