"""Trains LightGBM on the consumption of households, with early stopping and a progress line, and exports it to ONNX."""

import lightgbm as lgb
import numpy as np
import pandas as pd
from onnxmltools import convert_lightgbm
from onnxmltools.convert.common.data_types import FloatTensorType

import headrace_client as headrace

rng = np.random.default_rng(3)
rows = 20000
df = pd.DataFrame(
    {
        "people": rng.integers(1, 7, rows),
        "area": rng.normal(95, 35, rows).clip(20),
        "outside": rng.normal(9, 9, rows),
        "hour": rng.integers(0, 24, rows),
        "heat_pump": rng.integers(0, 2, rows),
    }
)
evening = np.exp(-((df["hour"] - 19) ** 2) / 10)
heating = (18 - df["outside"]).clip(0) * df["area"] / 900 * (0.3 + df["heat_pump"])
df["kwh"] = 0.12 * df["people"] + 0.6 * evening * df["people"] + heating + rng.gamma(2, 0.1, rows)

features = ["people", "area", "outside", "hour", "heat_pump"]
train, valid = df.iloc[:16000], df.iloc[16000:]
train_set = lgb.Dataset(train[features], train["kwh"])
valid_set = lgb.Dataset(valid[features], valid["kwh"], reference=train_set)

params = {"objective": "regression", "metric": "l2", "learning_rate": 0.02, "num_leaves": 63, "verbose": -1, "seed": 1}
model = lgb.train(
    params,
    train_set,
    num_boost_round=600,
    valid_sets=[valid_set],
    callbacks=[
        lgb.early_stopping(100),
        lgb.log_evaluation(50),
        lambda env: headrace.log({"l2": env.evaluation_result_list[0][2]}, step=env.iteration + 1),
        lambda env: headrace.progress(step=env.iteration + 1, steps=env.end_iteration),
    ],
)
importance = pd.Series(model.feature_importance("gain"), features).sort_values(ascending=False)
print(importance.to_string())

onnx_model = convert_lightgbm(model, initial_types=[("features", FloatTensorType([None, len(features)]))])
with open("consumption.onnx", "wb") as f:
    f.write(onnx_model.SerializeToString())
headrace.export("consumption.onnx", format="ONNX")
