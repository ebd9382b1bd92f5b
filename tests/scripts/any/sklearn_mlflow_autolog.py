"""Trains a random forest on the quality of apples with MLflow's autologging for scikit-learn."""

import mlflow
import numpy as np
from skl2onnx import to_onnx
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split

import headrace_client as headrace

mlflow.sklearn.autolog()

rng = np.random.default_rng(11)
apples = rng.normal(size=(12000, 6)).astype(np.float32)
good = (apples[:, 0] + 0.5 * apples[:, 1] * apples[:, 2] - 0.3 * apples[:, 3] ** 2 + rng.normal(0, 0.3, 12000)) > 0
X_train, X_test, y_train, y_test = train_test_split(apples, good.astype(int), random_state=0)

with mlflow.start_run(run_name="apples"):
    forest = RandomForestClassifier(n_estimators=120, max_depth=12, random_state=0)
    forest.fit(X_train, y_train)
    mlflow.log_metric("test_accuracy", forest.score(X_test, y_test))

onx = to_onnx(forest, X_train[:1], options={"zipmap": False})
with open("forest.onnx", "wb") as f:
    f.write(onx.SerializeToString())
headrace.export("forest.onnx", format="ONNX")
