"""Models that nobody of ours has made."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def save_onnx(path, location=None):
    weights = numpy_helper.from_array(np.ones((100, 100), "float32"), "w")
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 100]) for name in "xy")
    path.parent.mkdir(exist_ok=True)
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", [x], [y], [weights])
    onnx.save(helper.make_model(graph), path, save_as_external_data=location is not None, location=location)
    return path


def saved_model(folder, signature: bytes = b"serving_default"):
    """One graph, with one signature of this name."""
    entry = b"\x0a" + bytes([len(signature)]) + signature
    meta = b"\x2a" + bytes([len(entry)]) + entry if signature else b""
    folder.mkdir()
    (folder / "saved_model.pb").write_bytes(b"\x08\x01\x12" + bytes([len(meta)]) + meta)
    return folder


def decoder(folder):
    """Laid out as onnxruntime-genai's, with weights beside the graph."""
    save_onnx(folder / "model.onnx", "model.onnx.data")
    (folder / "genai_config.json").write_text('{"model": {"decoder": {"filename": "model.onnx"}}}')
    (folder / "tokenizer.json").write_text("{}")
    return folder
