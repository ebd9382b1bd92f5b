"""Makes an exported model one of MLflow's own: `mlflow.pyfunc.load_model("models:/NAME/VERSION")`, and everything that
is built on it, then loads the file that is served.

    MLmodel               flavors, and the signature by which MLflow checks and converts inputs
    onnx/MLmodel          the same for the ONNX model alone: MLflow looks for it beside the file
    input_example.json    rows of the training data, where the adapter has left some; serving_input_example.json is the
                          same as the body of a request to `mlflow models serve`
    requirements.txt      what loads it, in the versions that the script had
    python_env.yaml       the same, as `mlflow models serve` wants it

Written as JSON, which is YAML. There is no time and no run in it: a training that was interrupted leaves a model of the
same digest. Format: https://mlflow.org/docs/latest/ml/model/ (the MLmodel file, flavors, model signature).
"""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from headrace_common.formats import SIGNATURE
from headrace_trainer.launcher.packages.installed import Pin

# The protocol's names of types, as numpy has them. MLflow has no bfloat16.
_DTYPES = {
    "BOOL": "bool",
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "FP16": "float16",
    "FP32": "float32",
    "FP64": "float64",
    "BYTES": "object",
}
_EXAMPLE, _REQUEST = "input_example.json", "serving_input_example.json"
_PACKAGES = {
    "ONNX": ("onnxruntime", "onnx", "numpy"),
    "TensorFlow": ("tensorflow", "tensorflow-cpu", "numpy"),
    "Keras": ("keras",),
    "Text": ("onnxruntime", "tokenizers"),
}


def write(folder: Path, formats: Iterable[str], there: Mapping[str, Pin]) -> None:
    """Adds the files to a model's folder that has these formats; `there` is what the script had."""
    made = set(formats)
    if "ONNX" in made:
        _write(folder / "onnx" / "MLmodel", _description({"onnx": _onnx("model.onnx")}, "onnx", "model.onnx", folder))
    flavors: dict[str, Any] = {}
    if "TensorFlow" in made:
        flavors["tensorflow"] = {
            "model_type": "tf1-estimator",  # MLflow's word for a SavedModel with a signature
            "saved_model_dir": "tensorflow",
            "meta_graph_tags": ["serve"],
            "signature_def_key": "serving_default",
        }
    if "ONNX" in made:
        flavors["onnx"] = _onnx("onnx/model.onnx")
    loader, data = ("onnx", "onnx/model.onnx") if "ONNX" in made else ("tensorflow", None)
    if flavors:
        _write(folder / "MLmodel", _description(flavors, loader, data, folder) | _example(folder))
    names = dict.fromkeys(name for format_ in sorted(made) for name in _PACKAGES[format_])
    requirements = [line for name in ("mlflow", *names) if (line := _requirement(name, there))]
    (folder / "requirements.txt").write_text("".join(f"{line}\n" for line in requirements), encoding="utf-8")
    _write(folder / "python_env.yaml", {"python": platform.python_version(), "dependencies": ["-r requirements.txt"]})


def _onnx(path: str) -> dict[str, Any]:
    return {"data": path, "providers": ["CPUExecutionProvider"]}


def _description(flavors: dict[str, Any], loader: str, data: str | None, folder: Path) -> dict[str, Any]:
    generic: dict[str, Any] = {
        "loader_module": f"mlflow.{loader}",
        "python_version": platform.python_version(),
        "env": {"virtualenv": "python_env.yaml"},
    }
    if data is not None:
        generic["data"] = data
    description: dict[str, Any] = {"flavors": {**flavors, "python_function": generic}}
    signature = _signature(folder / SIGNATURE)
    return description if signature is None else {**description, "signature": signature}


def _example(folder: Path) -> dict[str, Any]:
    try:
        rows = json.loads((folder / _EXAMPLE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    _write(folder / _REQUEST, {"inputs": rows})
    return {"saved_input_example_info": {"artifact_path": _EXAMPLE, "serving_input_path": _REQUEST, "type": "ndarray"}}


def _signature(path: Path) -> dict[str, Any] | None:
    """MLflow's form of signature.json; None where there is none, or where it has a type that MLflow lacks."""
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
        sides = {side: json.dumps([_tensor(tensor) for tensor in described[side]]) for side in ("inputs", "outputs")}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return {**sides, "params": None}


def _tensor(tensor: dict[str, Any]) -> dict[str, Any]:
    spec = {"dtype": _DTYPES[tensor["datatype"]], "shape": tensor["shape"]}
    return {"name": tensor["name"], "type": "tensor", "tensor-spec": spec}


def _requirement(name: str, there: Mapping[str, Pin]) -> str:
    """The package in the version that was there; "" where it was not. The small mlflow stands for the whole one."""
    if name.endswith("-cpu") and name.removesuffix("-cpu") in there:  # that one came from requirements.txt
        return ""
    pin = there.get(name) or there.get(f"{name}-skinny")
    return "" if pin is None else f"{name}=={pin.version}"


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
