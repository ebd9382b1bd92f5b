"""The model that becomes a version."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from headrace_client._wire import send

# Where each format lies in a model's folder.
FORMATS = {"ONNX": "onnx/model.onnx", "TensorFlow": "tensorflow"}

_exported: list[str] = []


def export(path: str | os.PathLike[str], *, format: str) -> None:
    """Hands a model over: `path` is an ONNX file (format "ONNX") or the folder of a SavedModel ("TensorFlow"). What was
    handed over before in the same format is replaced. It becomes a version when the script ends well, where
    spec.output asks for that format.

    Raises ValueError for another format, and FileNotFoundError where there is no such file or folder.
    """
    if format not in FORMATS:
        raise ValueError(f"format {format!r}: there are {', '.join(FORMATS)}")
    source = Path(path)
    is_right = source.is_file() if format == "ONNX" else (source / "saved_model.pb").is_file()
    if not is_right:
        wanted = "an ONNX file" if format == "ONNX" else "the folder of a SavedModel, with saved_model.pb in it"
        raise FileNotFoundError(f"{source} is not {wanted}")
    root = os.environ.get("HEADRACE_EXPORT_DIR")
    if not root:
        return
    target = Path(root) / FORMATS[format]
    _copy(source, target)
    if format not in _exported:
        _exported.append(format)
    send("exported", dir=root, formats=_exported)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_file():
        shutil.copyfile(source, target)
        data = source.with_name(source.name + ".data")  # ONNX keeps weights of more than 2 GB beside the file
        if data.is_file():
            shutil.copyfile(data, target.with_name(data.name))
    else:
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target)
