"""An ONNX model, by ONNX Runtime, on the CPU: the same kernels as its server's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from headrace_common.cpus import available_cpus
from headrace_common.formats import FILES, ModelFormat
from headrace_trainer.evaluation.artifact.kind import TEXT, Array, Tensor
from headrace_trainer.evaluation.refusal import Refusal, words_of

_DTYPES = {
    "bool": "bool",
    "float16": "float16",
    "float": "float32",
    "double": "float64",
    "string": TEXT,
    **{name: name for name in ("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64")},
}
# By which a classifier of scikit-learn's, XGBoost's or LightGBM's says what its probabilities are of.
_CLASSES = ("classlabels_strings", "classlabels_int64s", "classlabels_ints")


class OnnxModel:
    """Make it with `load`."""

    format = str(ModelFormat.ONNX)
    gradient = None

    def __init__(self, session: Any, classes: Sequence[str]) -> None:
        self._session = session
        self.inputs = tuple(_tensor(node) for node in session.get_inputs())
        self.outputs = tuple(_tensor(node) for node in session.get_outputs())
        self.classes = classes

    def run(self, feed: Mapping[str, Array]) -> dict[str, Array]:
        found = self._session.run(None, dict(feed))
        return {
            tensor.name: self._probabilities(values) if tensor.maps else np.asarray(values)
            for tensor, values in zip(self.outputs, found, strict=True)
        }

    def _probabilities(self, rows: Sequence[Mapping[Any, float]]) -> Array:
        """What skl2onnx puts behind a classifier where nobody has switched it off (ZipMap)."""
        names = list(rows[0])
        self.classes = self.classes or tuple(map(str, names))
        return np.array([[row[name] for name in names] for row in rows], dtype=np.float32)


def load(folder: Path) -> OnnxModel:
    """The model in a model's folder. Raises Refusal."""
    path = folder / FILES[ModelFormat.ONNX]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = available_cpus()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        return OnnxModel(session, _classes(path))
    except Refusal:
        raise
    except Exception as error:  # whatever it is that the library does not like
        raise Refusal(
            f"the model's ONNX file cannot be loaded: {words_of(error)}",
            "Its bytes are those that were exported: export the model anew, or name evaluate.format: TensorFlow.",
        ) from error


def _tensor(node: Any) -> Tensor:
    shape = tuple(size if isinstance(size, int) and size >= 0 else None for size in node.shape or ())
    if node.type.startswith("seq(map("):
        return Tensor(node.name, "float32", (None, None), maps=True)
    name = node.type.removeprefix("tensor(").removesuffix(")")
    if name not in _DTYPES:
        raise Refusal(
            f"the model's {node.name!r} is of type {node.type}, which cannot be handed over",
            "Export the model with tensors of numbers, booleans or texts as inputs and outputs.",
        )
    return Tensor(node.name, _DTYPES[name], shape)


def _classes(path: Path) -> tuple[str, ...]:
    found: list[tuple[str, ...]] = []
    for node in onnx.load(str(path), load_external_data=False).graph.node:
        for attribute in node.attribute:
            if attribute.name in _CLASSES and (attribute.strings or attribute.ints):
                texts = (text.decode(errors="replace") for text in attribute.strings)
                found.append(tuple(texts) or tuple(map(str, attribute.ints)))
    return found[-1] if found else ()
