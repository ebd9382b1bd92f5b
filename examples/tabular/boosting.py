"""Tells benign from malignant tumours by 30 measurements, with gradient-boosted trees; the same rows as train.py."""

import argparse

from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split

import headrace_client as headrace

parser = argparse.ArgumentParser()
parser.add_argument("--trees", type=int, default=150)
parser.add_argument("--learning_rate", type=float, default=0.1)
parser.add_argument("--depth", type=int, default=3, help="of a tree, at most")
parser.add_argument("--split", type=int, default=0, help="which rows are kept for the validation: any number")
arguments = parser.parse_args()

x, y = load_breast_cancer(return_X_y=True)
x_train, x_val, y_train, y_val = train_test_split(
    x.astype("float32"), y, test_size=0.3, stratify=y, random_state=arguments.split
)

model = GradientBoostingClassifier(
    n_estimators=arguments.trees,
    learning_rate=arguments.learning_rate,
    max_depth=arguments.depth,
    subsample=0.5,  # each tree sees half of the rows: other trees, a better mean
    random_state=0,
)
model.fit(x_train, y_train)

accuracy = model.score(x_val, y_val)
auc = roc_auc_score(y_val, model.predict_proba(x_val)[:, 1])
print(f"boosted trees: validation accuracy {accuracy:.3f}, AUC {auc:.4f}")
headrace.log({"val_accuracy": accuracy, "val_auc": auc})

features = [("features", FloatTensorType([None, x.shape[1]]))]
exported = to_onnx(model, initial_types=features, options={"zipmap": False})
with open("model.onnx", "wb") as file:
    file.write(exported.SerializeToString())
headrace.export("model.onnx", format="ONNX")
