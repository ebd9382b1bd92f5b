"""Trains gradient boosting on the hourly demand of a bike rental and exports it to ONNX."""

import matplotlib.pyplot as plt
import numpy as np
from skl2onnx import to_onnx
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.metrics import mean_absolute_error, mean_squared_error
from sklearn.model_selection import train_test_split

import headrace_client as headrace

n_samples = 8000
hour = np.random.randint(0, 24, size=n_samples)
weekday = np.random.randint(0, 7, size=n_samples)
temperature = np.random.normal(14, 8, size=n_samples)
rain = np.random.exponential(0.5, size=n_samples)
wind = np.random.gamma(2, 5, size=n_samples)
rush = np.exp(-((hour - 8) ** 2) / 4) + np.exp(-((hour - 17) ** 2) / 6)
demand = 40 + 160 * rush * (weekday < 5) + 5 * temperature - 30 * rain - 0.8 * wind
demand = np.maximum(demand, 0) + np.random.normal(0, 10, size=n_samples)

feature_names = ["hour", "weekday", "temperature", "rain", "wind"]
X = np.column_stack([hour, weekday, temperature, rain, wind]).astype(np.float32)
X_train, X_test, y_train, y_test = train_test_split(X, demand, test_size=0.1)

params = {
    "n_estimators": 400,
    "max_depth": 4,
    "min_samples_split": 5,
    "learning_rate": 0.05,
    "loss": "squared_error",
    "verbose": 1,
}
reg = GradientBoostingRegressor(**params)
reg.fit(X_train, y_train)

mse = mean_squared_error(y_test, reg.predict(X_test))
mae = mean_absolute_error(y_test, reg.predict(X_test))
print(f"The mean squared error (MSE) on test set: {mse:.2f}")
print(f"The mean absolute error (MAE) on test set: {mae:.2f}")
for name, importance in sorted(zip(feature_names, reg.feature_importances_, strict=True), key=lambda pair: -pair[1]):
    print(f"{name:>12}: {importance:.3f}")

test_score = [mean_squared_error(y_test, y_pred) for y_pred in reg.staged_predict(X_test)]
plt.plot(reg.train_score_, label="Training set")
plt.plot(test_score, label="Test set")
plt.xlabel("Boosting iterations")
plt.ylabel("Squared error")
plt.legend()
plt.savefig(headrace.outputs() / "deviance.png")

onx = to_onnx(reg, X_train[:1])
with open("model.onnx", "wb") as f:
    f.write(onx.SerializeToString())
headrace.export("model.onnx", format="ONNX")
