"""Models that lie in a tenant's bucket without a training, as one would have left them."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from platform_under_test import Tenant

SIGNATURE = {
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 1]}],
    "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 1]}],
}


def adds(constant: float) -> bytes:
    """An ONNX model that answers x + constant."""
    free: Any = ["rows", 1]
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "constant"], ["y"])],
        "adds",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, free)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, free)],
        [numpy_helper.from_array(np.array([constant], "float32"), "constant")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return bytes(model.SerializeToString())


def publish(tenant: Tenant, name: str, model: bytes) -> str:
    """The artifact as a TrainingJob would leave it, with a manifest that is right; its uri."""
    files = {"onnx/model.onnx": model, "signature.json": json.dumps(SIGNATURE).encode()}
    listed = [
        {"path": path, "sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
        for path, content in files.items()
    ]
    manifest = {"files": listed, "formats": {"ONNX": "onnx"}, "protocol": 1}
    files["manifest.json"] = json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()
    s3 = tenant.s3()
    for path, content in files.items():
        s3.put_object(Bucket=tenant.namespace, Key=f"bad-input/{name}/{path}", Body=content)
    return f"s3://{tenant.namespace}/bad-input/{name}"
