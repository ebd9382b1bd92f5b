"""Trains an XGBoost booster on house prices in rounds, each of which goes on from the one before."""

import numpy as np
import xgboost as xgb
from onnxmltools.convert import convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType

import headrace_client as headrace

ROUNDS, STEP = 600, 50

rng = np.random.default_rng(0)
size = rng.normal(120, 40, 30000).clip(25)
rooms = (size / 28 + rng.normal(0, 0.7, 30000)).round().clip(1)
age = rng.integers(0, 110, 30000)
distance = rng.exponential(9, 30000)
X = np.column_stack([size, rooms, age, distance]).astype("float32")
y = 2.4 * size + 9 * rooms - 0.5 * age - 4 * distance + 30 * (age < 8) + rng.normal(0, 15, 30000)

dtrain = xgb.DMatrix(X[:25000], label=y[:25000])
dtest = xgb.DMatrix(X[25000:], label=y[25000:])
params = {"objective": "reg:squarederror", "max_depth": 6, "eta": 0.02, "eval_metric": "rmse", "seed": 0}

folder = headrace.last_checkpoint()
booster = xgb.Booster(params, model_file=folder / "booster.ubj") if folder else None
for start in range(headrace.last_step(), ROUNDS, STEP):
    booster = xgb.train(params, dtrain, STEP, evals=[(dtest, "test")], verbose_eval=25, xgb_model=booster)
    with headrace.checkpoint(step=start + STEP) as folder:
        booster.save_model(folder / "booster.ubj")

print(booster.eval(dtest))
onx = convert_xgboost(booster, initial_types=[("house", FloatTensorType([None, 4]))])
with open("model.onnx", "wb") as f:
    f.write(onx.SerializeToString())
headrace.export("model.onnx", format="ONNX")
