"""A model that was described by its own file starts with that description, also where the file is wrong about it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from headrace_common.own_signature import own_signature
from headrace_onnxruntime import engine

X = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 4])


def described(folder: Path, *outputs: onnx.ValueInfoProto, ir_version: int = 10) -> engine.Engine:
    """A server's engine of y = x w, which has the shape [rows, 3], where the file has other `outputs`."""
    weights = numpy_helper.from_array(np.ones((4, 3), "float32"), "w")
    inputs = [X] if ir_version > 3 else [X, helper.make_tensor_value_info("w", TensorProto.FLOAT, [4, 3])]
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", inputs, outputs, [weights])
    opset = helper.make_opsetid("", 17 if ir_version > 3 else 8)
    (folder / "onnx").mkdir()
    path = folder / "onnx" / "model.onnx"
    path.write_bytes(helper.make_model(graph, ir_version=ir_version, opset_imports=[opset]).SerializeToString())
    (folder / "signature.json").write_text(own_signature("ONNX", path).as_file())
    return engine.load(folder, threads=1)


@pytest.mark.parametrize(
    ("shape", "served"),
    [
        (("rows", 3), (-1, 3)),
        ((1, 3), (1, 3)),  # a model that was exported with one row, and made to take more
        (("rows", 5), (-1, 5)),
        # Of these ONNX Runtime only says that it does not know: the number of dimensions is another one.
        (("rows",), ()),
        ((1, "rows", 3), ()),
        ((), ()),
    ],
)
def test_what_a_file_says_wrongly_of_its_outputs_keeps_no_server_from_starting(tmp_path, shape, served):
    model = described(tmp_path, helper.make_tensor_value_info("y", TensorProto.FLOAT, shape))
    assert model.signature.outputs[0].shape == served
    [answer] = model.run({"x": np.ones((2, 4), "float32")})
    assert answer.shape == (2, 3)


def test_a_file_of_an_old_version_lists_its_weights_among_its_inputs(tmp_path):
    model = described(tmp_path, helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 3]), ir_version=3)
    assert [spec.name for spec in model.signature.inputs] == ["x"]
