"""Files of other libraries, told by how they are called, and what makes a model of them that can be added.

Nothing of them is opened, here or in any process of Headrace's own: a pickle runs what its author wrote
(docs/decisions/0055-models-of-others.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PurePath

WHERE = "docs/how-to/add-a-model.md has the lines, under `Convert it first`"
_SCRIPT = "in a TrainingJob of framework: Script"

_PICKLE = (
    f"a pickle runs code where it is opened, so nothing of Headrace opens one: {_SCRIPT}, to_onnx of skl2onnx makes "
    "ONNX of a model of scikit-learn"
)
_XGBOOST = f"if XGBoost has saved it: {_SCRIPT}, convert_xgboost of onnxmltools makes ONNX of it"
_KERAS = "if Keras has saved it: keras.saving.load_model(FILE).export(FOLDER), and add the folder"
_PYTORCH = (
    "a file of PyTorch runs code where it is opened, so nothing of Headrace opens one: torch.onnx.export makes ONNX"
)
_CATBOOST = 'CatBoost writes ONNX itself: model.save_model("model.onnx", format="onnx")'
_WEIGHTS = "it has weights and no graph: load it with the library that wrote it, and export that to ONNX"

_HINTS: Mapping[str, str] = {
    **dict.fromkeys((".pkl", ".pickle", ".joblib", ".skops"), _PICKLE),
    **dict.fromkeys((".ubj", ".json", ".xgb"), _XGBOOST),
    **dict.fromkeys((".keras", ".h5", ".hdf5"), _KERAS),
    **dict.fromkeys((".pt", ".pth", ".ckpt"), _PYTORCH),
    ".cbm": _CATBOOST,
    ".safetensors": _WEIGHTS,
}


def what_to_do(names: Iterable[str]) -> str:
    """Of the first of these files that looks like another library's; empty where none does."""
    for name in sorted(names):
        if hint := _HINTS.get(PurePath(name).suffix.lower()):
            return f"{name}: {hint}; {WHERE}"
    return ""
