"""The model that becomes a version."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from headrace_client import _followed, _onnx_files
from headrace_client._wire import in_job, send, to_write

# Where each format lies in a model's folder.
FORMATS = {"ONNX": "onnx/model.onnx", "TensorFlow": "tensorflow", "Text": "text"}
# Of a format that is a folder: the file by which it is known, and what it is called.
_FOLDERS = {
    "TensorFlow": ("saved_model.pb", "the folder of a SavedModel"),
    "Text": ("genai_config.json", "a folder laid out as onnxruntime-genai's"),
}

_NAME = "model.onnx"
_MAPS = "sequence_type"
_exported: list[str] = []


def export(model: Any, *, format: str | None = None) -> None:
    """Hands over the model that becomes a version when the script ends well.

    In a job of `framework: Keras`, `model` is a Keras model, or the path of a .keras file; spec.output has the formats.
    A model that was trained by now is meant as it is now, whatever becomes of it later: its weights are copied.
    Elsewhere it is a path, of an ONNX file (format "ONNX"), of a SavedModel's folder ("TensorFlow"), or of a decoder's,
    laid out as onnxruntime-genai's ("Text"). What was handed over before in the same format is replaced. Files beside
    an ONNX file that have its weights ("external data") go along.

    Raises ValueError for another format, for a model that answers with other things than tensors, and for one with
    weights outside of its folder; TypeError for what is no model; FileNotFoundError where there is no such file or
    folder, or no file of its weights.
    """
    if _followed.follower is not None:
        _followed.follower.take(model, format)
    elif isinstance(model, str | os.PathLike):
        _export_file(model, format)
    elif in_job():
        raise TypeError(f"a {type(model).__name__} is no path: save the model, and hand its file over with `format`")


def _export_file(path: str | os.PathLike[str], format: str | None) -> None:
    if not in_job() and format is None:  # a Keras script, outside of a pod
        return
    if format is None or format not in FORMATS:
        raise ValueError(f"format {format!r}: there are {', '.join(FORMATS)}")
    source = Path(path)
    known, called = _FOLDERS.get(format, ("", "an ONNX file"))
    if not (source / known).is_file():
        raise FileNotFoundError(f"{source} is not {called}" + (f", with {known} in it" if known else ""))
    if format == "ONNX":
        _must_have_tensors(source)
    beside = _onnx_files.external(source) if format == "ONNX" else []
    if _NAME in beside and source.name != _NAME:
        raise ValueError(f"{source} has weights in {_NAME!r}, which is what the model itself is called from here on")
    root = to_write("HEADRACE_EXPORT_DIR")
    if root is None:
        return
    _copy(source, beside, Path(root), format)
    if format not in _exported:
        _exported.append(format)
    send("exported", dir=root, formats=_exported)


def _must_have_tensors(source: Path) -> None:
    """What no server can answer with is told here, where onnx is at hand, and not when a service cannot start."""
    try:
        import onnx

        graph = onnx.load(str(source), load_external_data=False).graph
    except Exception:  # noqa: BLE001 - no onnx here, or a file that it cannot read: the server says what it has against it
        return
    odd = [value.name for value in (*graph.input, *graph.output) if value.type.WhichOneof("value") == _MAPS]
    if odd:
        raise ValueError(
            f"{source}: {', '.join(odd)} is a list of dictionaries, which cannot be served; of skl2onnx: "
            "to_onnx(model, X[:1], options={'zipmap': False})"
        )


def _copy(source: Path, beside: list[str], root: Path, format: str) -> None:
    """Beside what is there, which it replaces when it is whole."""
    fresh = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=root.parent))
    try:
        made = fresh / FORMATS[format]
        made.parent.mkdir(exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, made)
        else:
            shutil.copyfile(source, made)
            for name in beside:
                (made.parent / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source.parent / name, made.parent / name)
        folder = Path(FORMATS[format]).parts[0]
        shutil.rmtree(root / folder, ignore_errors=True)
        (fresh / folder).rename(root / folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
