"""Forecasts the demand of a shop with an own loss (too little costs more) and an own metric."""

import keras
import numpy as np
from keras import layers, ops


def stockout_loss(y_true, y_pred):
    """An empty shelf costs four times as much as a loaf that is left over."""
    missing = ops.maximum(y_true - y_pred, 0.0)
    left_over = ops.maximum(y_pred - y_true, 0.0)
    return ops.mean(4.0 * missing + left_over, axis=-1)


class ServiceLevel(keras.metrics.Metric):
    """The share of days on which there was enough."""

    def __init__(self, name="service_level", **kwargs):
        super().__init__(name=name, **kwargs)
        self.enough = self.add_weight(name="enough", initializer="zeros")
        self.days = self.add_weight(name="days", initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        values = ops.cast(y_pred >= ops.cast(y_true, y_pred.dtype), "float32")
        if sample_weight is not None:
            values = ops.multiply(values, ops.cast(sample_weight, "float32"))
        self.enough.assign_add(ops.sum(values))
        self.days.assign_add(ops.cast(ops.size(y_true), "float32"))

    def result(self):
        return self.enough / self.days

    def reset_state(self):
        self.enough.assign(0.0)
        self.days.assign(0.0)


def load_sales(days=5000):
    weekday = np.arange(days) % 7
    temperature = 12 + 10 * np.sin(2 * np.pi * np.arange(days) / 365) + np.random.normal(0, 3, days)
    holiday = np.random.rand(days) < 0.05
    offer = np.random.rand(days) < 0.15
    demand = 40 + 12 * (weekday >= 5) + 0.6 * temperature + 15 * offer - 30 * holiday
    demand = np.random.poisson(np.maximum(demand, 2)).astype("float32")
    features = np.column_stack([np.eye(7)[weekday], temperature / 30, holiday, offer]).astype("float32")
    return features, demand[:, None] / 10.0


x, y = load_sales()
x_train, y_train = x[:4000], y[:4000]
x_test, y_test = x[4000:], y[4000:]

model = keras.Sequential(
    [
        keras.Input(shape=(x.shape[1],)),
        layers.Dense(160, activation="relu"),
        layers.Dense(160, activation="relu"),
        layers.Dense(64, activation="relu"),
        layers.Dense(1),
    ]
)
model.compile(optimizer="adam", loss=stockout_loss, metrics=["mae", ServiceLevel()])
model.fit(x_train, y_train, epochs=12, batch_size=100, validation_split=0.1)

loss, mae, level = model.evaluate(x_test, y_test, verbose=0)
print(f"cost {loss:.3f}, off by {10 * mae:.1f} loaves, enough on {level:.0%} of the days")
