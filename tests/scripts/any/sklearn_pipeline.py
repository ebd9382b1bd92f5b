"""Trains a logistic regression on mixed columns of a passenger table and exports it to ONNX."""

import numpy as np
import pandas as pd
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import headrace_client as headrace

np.random.seed(0)

rows = 40000
X = pd.DataFrame(
    {
        "age": np.random.gamma(6, 6, size=rows),
        "fare": np.random.lognormal(3, 0.8, size=rows),
        "harbour": np.random.choice(["north", "east", "south"], size=rows, p=[0.2, 0.3, 0.5]),
        "sex": np.random.choice(["female", "male"], size=rows),
        "cabin_class": np.random.choice(["first", "second", "third"], size=rows),
    }
)
score = 1.2 * (X["sex"] == "female") + 0.9 * (X["cabin_class"] == "first") - 0.02 * X["age"] + 0.01 * X["fare"] - 0.6
y = (np.random.rand(rows) < 1 / (1 + np.exp(-score))).astype(int)
X.loc[np.random.rand(rows) < 0.15, "age"] = np.nan

numeric_features = ["age", "fare"]
numeric_transformer = Pipeline(steps=[("imputer", SimpleImputer(strategy="median")), ("scaler", StandardScaler())])
categorical_features = ["harbour", "sex", "cabin_class"]
categorical_transformer = OneHotEncoder(handle_unknown="ignore")

preprocessor = ColumnTransformer(
    transformers=[
        ("num", numeric_transformer, numeric_features),
        ("cat", categorical_transformer, categorical_features),
    ]
)
clf = Pipeline(steps=[("preprocessor", preprocessor), ("classifier", LogisticRegression())])

X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2, random_state=0)
scores = cross_val_score(clf, X_train, y_train, cv=10)
print(f"cross validation: {scores.mean():.3f} +/- {scores.std():.3f}")

clf.fit(X_train, y_train)
print(f"model score: {clf.score(X_test, y_test):.3f}")

initial_types = [
    (name, FloatTensorType([None, 1]) if name in numeric_features else StringTensorType([None, 1]))
    for name in X_train.columns
]
onx = convert_sklearn(clf, "passengers", initial_types, options={id(clf): {"zipmap": False}})
with open("model.onnx", "wb") as f:
    f.write(onx.SerializeToString())
headrace.export("model.onnx", format="ONNX")
