"""Trains a wine quality regression and logs parameters, metrics and a plot to MLflow."""

import keras
import matplotlib.pyplot as plt
import mlflow
import numpy as np
from sklearn.model_selection import train_test_split

params = {
    "learning_rate": 0.003,
    "momentum": 0.9,
    "hidden_units": 128,
    "batch_size": 64,
    "epochs": 10,
}


class MetricsToMlflow(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        for name, value in (logs or {}).items():
            mlflow.log_metric(name, value, step=epoch)


def load_wine(count=3000):
    acidity = np.random.normal(7, 1, size=count)
    sugar = np.random.gamma(2, 2, size=count)
    alcohol = np.random.normal(10.5, 1.2, size=count)
    sulphates = np.random.normal(0.6, 0.15, size=count)
    quality = 5.8 + 0.5 * (alcohol - 10.5) - 0.3 * (acidity - 7) ** 2 - 0.05 * sugar + 2 * (sulphates - 0.6)
    quality += np.random.normal(0, 0.3, size=count)
    return np.column_stack([acidity, sugar, alcohol, sulphates]).astype("float32"), quality.astype("float32")


x, y = load_wine()
train_x, valid_x, train_y, valid_y = train_test_split(x, y, test_size=0.2)

normalization = keras.layers.Normalization()
normalization.adapt(train_x)
model = keras.Sequential(
    [
        keras.Input(shape=(4,)),
        normalization,
        keras.layers.Dense(params["hidden_units"], activation="relu"),
        keras.layers.Dense(params["hidden_units"], activation="relu"),
        keras.layers.Dense(1),
    ]
)
model.compile(
    optimizer=keras.optimizers.SGD(learning_rate=params["learning_rate"], momentum=params["momentum"]),
    loss="mean_squared_error",
    metrics=[keras.metrics.RootMeanSquaredError(name="rmse")],
)

with mlflow.start_run(run_name="wine-quality") as run:
    mlflow.log_params(params)
    history = model.fit(
        train_x,
        train_y,
        validation_data=(valid_x, valid_y),
        epochs=params["epochs"],
        batch_size=params["batch_size"],
        callbacks=[MetricsToMlflow()],
    )

    _, eval_rmse = model.evaluate(valid_x, valid_y, batch_size=64)
    mlflow.log_metric("eval_rmse", eval_rmse)

    figure, axis = plt.subplots()
    axis.plot(history.history["rmse"], label="training")
    axis.plot(history.history["val_rmse"], label="validation")
    axis.set_xlabel("epoch")
    axis.legend()
    figure.savefig("rmse.png")
    mlflow.log_artifact("rmse.png")

print(f"Run {run.info.run_id}: RMSE {eval_rmse:.3f}")
