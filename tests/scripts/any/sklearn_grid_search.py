"""Searches the parameters of a support vector machine on 8x8 symbols and exports the best one."""

import numpy as np
import pandas as pd
from skl2onnx import to_onnx
from sklearn.metrics import classification_report
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import headrace_client as headrace

# Ten symbols of 8x8 grey pixels (0 to 16), each drawn a bit differently every time.
rng = np.random.default_rng(0)
symbols = rng.random((10, 8, 8)) < 0.4
y = rng.integers(0, 10, size=1800)
shifts = rng.integers(-1, 2, size=(1800, 2))
pixels = np.stack([np.roll(symbols[label], shift, axis=(0, 1)) for label, shift in zip(y, shifts, strict=True)])
X = (12 * pixels + rng.normal(2, 3, size=pixels.shape)).clip(0, 16).round()
X = X.reshape(len(X), -1).astype(np.float32)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.4, random_state=0)

pipe = make_pipeline(StandardScaler(), SVC())
param_grid = [
    {"svc__kernel": ["rbf"], "svc__gamma": [1e-2, 1e-3, 1e-4], "svc__C": [1, 10, 100]},
    {"svc__kernel": ["linear"], "svc__C": [1, 10]},
]
search = GridSearchCV(pipe, param_grid, scoring="accuracy", cv=5, verbose=1)
search.fit(X_train, y_train)

print("Best parameters set found on development set:")
print(search.best_params_)
results = pd.DataFrame(search.cv_results_).sort_values("rank_test_score")
print(results[["params", "mean_test_score", "std_test_score", "mean_fit_time"]].to_string(index=False))
results.to_csv("cv_results.csv", index=False)

y_pred = search.predict(X_test)
print(classification_report(y_test, y_pred))

headrace.log({"accuracy": search.score(X_test, y_test)})
onx = to_onnx(search.best_estimator_, X_train[:1], options={"zipmap": False})
with open("model.onnx", "wb") as f:
    f.write(onx.SerializeToString())
headrace.export("model.onnx", format="ONNX")
