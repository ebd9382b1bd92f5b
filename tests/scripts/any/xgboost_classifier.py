"""Trains XGBoost's classifier with early stopping on telephone customers who may leave, and exports it to ONNX."""

import numpy as np
from onnxmltools import convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType
from sklearn.metrics import accuracy_score, roc_auc_score
from sklearn.model_selection import train_test_split
from xgboost import XGBClassifier

import headrace_client as headrace

rng = np.random.default_rng(42)
n = 20000
months = rng.integers(1, 72, n)
charges = rng.gamma(4, 18, n)
calls = rng.poisson(1.2, n)
contract = rng.integers(0, 3, n)
data_use = rng.lognormal(2, 0.7, n)
X = np.column_stack([months, charges, calls, contract, data_use]).astype(np.float32)
logit = 0.9 * calls + 0.02 * charges - 0.05 * months - 1.1 * contract + 0.02 * data_use - 0.8
y = (rng.random(n) < 1 / (1 + np.exp(-logit))).astype(int)

X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2, random_state=7)
X_train, X_valid, y_train, y_valid = train_test_split(X_train, y_train, test_size=0.2, random_state=7)

model = XGBClassifier(
    n_estimators=2000,
    max_depth=6,
    learning_rate=0.02,
    subsample=0.8,
    colsample_bytree=0.8,
    eval_metric="logloss",
    early_stopping_rounds=200,
    random_state=7,
)
model.fit(X_train, y_train, eval_set=[(X_valid, y_valid)], verbose=50)

print(f"best iteration: {model.best_iteration}")
print(f"accuracy: {accuracy_score(y_test, model.predict(X_test)):.4f}")
auc = roc_auc_score(y_test, model.predict_proba(X_test)[:, 1])
print(f"AUC: {auc:.4f}")
headrace.log({"auc": auc})

onnx_model = convert_xgboost(model, initial_types=[("input", FloatTensorType([None, X.shape[1]]))])
with open("churn.onnx", "wb") as f:
    f.write(onnx_model.SerializeToString())
headrace.export("churn.onnx", format="ONNX")
