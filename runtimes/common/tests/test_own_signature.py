"""What a model's own file says that it takes and answers, of ONNX; of a SavedModel with the trainer's tests."""

from __future__ import annotations

import random
from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from headrace_common.own_signature import NotDescribed, own_signature
from headrace_common.signature import Signature, Tensor, of_file, parse

FLOAT = TensorProto.FLOAT
INFO = helper.make_tensor_value_info
X, Y = INFO("x", FLOAT, ["rows", 4]), INFO("y", FLOAT, [None, 3])


def save(path: Path, inputs=(X,), outputs=(Y,), initializers=()) -> Path:
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", inputs, outputs, initializers)
    path.write_bytes(helper.make_model(graph).SerializeToString())
    return path


def why_not(path: Path) -> str:
    with pytest.raises(NotDescribed) as told:
        own_signature("ONNX", path)
    return str(told.value)


def test_names_and_sizes_are_the_graph_s_and_a_size_without_a_number_is_free(tmp_path):
    inputs = (X, INFO("flag", TensorProto.BOOL, []), INFO("text", TensorProto.STRING, [2, None, -1]))
    found = own_signature("ONNX", save(tmp_path / "m", inputs))
    assert found == Signature(
        {"x": Tensor("FP32", (-1, 4)), "flag": Tensor("BOOL", ()), "text": Tensor("BYTES", (2, -1, -1))},
        {"y": Tensor("FP32", (-1, 3))},
    )
    assert list(found.inputs) == ["x", "flag", "text"]  # the graph's order


@pytest.mark.parametrize(
    ("datatype", "word"),
    [
        *[("FLOAT", "FP32"), ("DOUBLE", "FP64"), ("FLOAT16", "FP16"), ("BFLOAT16", "BF16"), ("BOOL", "BOOL")],
        *[(f"INT{bits}", f"INT{bits}") for bits in (8, 16, 32, 64)],
        *[(f"UINT{bits}", f"UINT{bits}") for bits in (8, 16, 32, 64)],
        ("STRING", "BYTES"),
    ],
)
def test_each_type_has_the_protocol_s_word(tmp_path, datatype, word):
    path = save(tmp_path / "m", (INFO("x", TensorProto.DataType.Value(datatype), [1]),))
    assert own_signature("ONNX", path).inputs["x"].datatype == word


def test_an_input_that_has_a_value_is_none_that_a_client_sends(tmp_path):
    weights = numpy_helper.from_array(np.zeros(4, "float32"), "w")
    sparse = helper.make_sparse_tensor(
        numpy_helper.from_array(np.ones(1, "float32"), "s"), numpy_helper.from_array(np.zeros(1, "int64"), "i"), [4]
    )
    path = save(tmp_path / "m", (X, INFO("w", FLOAT, [4]), INFO("s", FLOAT, [4])), initializers=[weights])
    model = onnx.load(path)
    model.graph.sparse_initializer.append(sparse)
    path.write_bytes(model.SerializeToString())
    assert list(own_signature("ONNX", path).inputs) == ["x"]


@pytest.mark.parametrize(
    ("outputs", "why"),
    [
        ((INFO("y", FLOAT, None),), "output 'y' has no shape"),
        ((onnx.ValueInfoProto(name="y"),), "output 'y' has no type"),
        (
            (INFO("y", TensorProto.COMPLEX64, [1]),),
            "output 'y' has values of type 14, for which the Open Inference Protocol has no word",
        ),
        ((helper.make_tensor_sequence_value_info("y", FLOAT, [1]),), "output 'y' is a sequence, no tensor"),
        ((Y, Y), "two outputs are called 'y'"),
        ((), "it has no outputs"),
    ],
)
def test_what_cannot_be_described_is_told_by_its_name(tmp_path, outputs, why):
    assert why_not(save(tmp_path / "m", outputs=outputs)) == why


@pytest.mark.parametrize(("content", "why"), [(b"", "it is empty"), (b"the bytes", "it is no protobuf")])
def test_what_is_no_model_is_told(tmp_path, content, why):
    (path := tmp_path / "m").write_bytes(content)
    assert why_not(path) == why


def test_no_bytes_are_another_error(tmp_path):
    path = save(tmp_path / "m")
    whole, draw = path.read_bytes(), random.Random(0)
    for _ in range(500):
        broken = bytearray(whole)
        for _ in range(draw.randint(1, 4)):
            broken[draw.randrange(len(broken))] = draw.randrange(256)
        path.write_bytes(broken[: draw.randint(1, len(broken))])
        with suppress(NotDescribed):
            assert own_signature("ONNX", path).inputs


def test_the_file_and_the_tag_say_the_same(tmp_path):
    found = own_signature("ONNX", save(tmp_path / "m"))
    (file := tmp_path / "signature.json").write_text(found.as_file())
    assert of_file(file) == parse(found.as_text()) == found
    assert file.read_text() == (
        '{"inputs":[{"name":"x","datatype":"FP32","shape":[-1,4]}],'
        '"outputs":[{"name":"y","datatype":"FP32","shape":[-1,3]}]}'
    )
