"""The formats of a model, and where each lies in the model's folder: in the pod that exports it, in S3, and in the pod
that serves it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class ModelFormat(StrEnum):
    """The spelling is the custom resource's."""

    TENSORFLOW = "TensorFlow"
    ONNX = "ONNX"
    KERAS = "Keras"
    TEXT = "Text"


# The file that each format cannot be without.
FILES: Mapping[str, str] = {
    ModelFormat.ONNX: "onnx/model.onnx",
    ModelFormat.TENSORFLOW: "tensorflow/saved_model.pb",
    ModelFormat.KERAS: "keras/model.keras",
    ModelFormat.TEXT: "text/genai_config.json",  # onnxruntime-genai's layout: graph and tokenizer lie beside it
}
FOLDERS: Mapping[str, str] = {name: path.partition("/")[0] for name, path in FILES.items()}
NOT_SERVED = ModelFormat.KERAS
# Inputs and outputs as clients see them, beside the formats' folders.
SIGNATURE = "signature.json"
