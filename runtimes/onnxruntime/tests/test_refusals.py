"""Models that ONNX Runtime does not load: each says what it is, and what to do about it. Real models, real words."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from headrace_onnxruntime import engine
from headrace_serving.failures import Reason, StartError


def model(
    node: onnx.NodeProto,
    *,
    opset: int = 17,
    ir_version: int = 9,
    kind: int = TensorProto.FLOAT,
    domains: Iterable[tuple[str, int]] = (),
    weights: Iterable[TensorProto] = (),
) -> bytes:
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", kind, ["rows", 2])],
        [helper.make_tensor_value_info("y", kind, ["rows", 2])],
        list(weights),
    )
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(*domain) for domain in domains)]
    made = helper.make_model(graph, opset_imports=opsets)
    made.ir_version = ir_version
    return bytes(made.SerializeToString())


def node(operator: str, domain: str = "") -> onnx.NodeProto:
    return helper.make_node(operator, ["x"], ["y"], domain=domain)


def external(location: str) -> bytes:
    """y = x + w, of which w lies in another file."""
    weight = numpy_helper.from_array(np.ones((1, 2), np.float32), "w")
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value=location)
    return model(helper.make_node("Add", ["x", "w"], ["y"]), weights=[weight])


REFUSED: dict[str, tuple[bytes, Reason, list[str], list[str]]] = {
    "IR version": (
        model(node("Identity"), ir_version=99),
        Reason.MODEL_UNSUPPORTED,
        ["IR version 99", "at most 14"],
        ["IR version of at most 14"],
    ),
    "opset": (
        model(node("Identity"), opset=99),
        Reason.MODEL_UNSUPPORTED,
        ["opset 99 of ai.onnx", "at most 28"],
        ["opset of at most 28"],
    ),
    "opset of a domain": (
        model(node("Normalizer", "ai.onnx.ml"), domains=[("ai.onnx.ml", 99)]),
        Reason.MODEL_UNSUPPORTED,
        ["opset 99 of ai.onnx.ml", "at most 5"],
        ["opset of at most 5"],
    ),
    "operator": (model(node("Frobnicate")), Reason.MODEL_UNSUPPORTED, ["'Frobnicate'", "opset 17"], ["opset"]),
    "operator of a later opset": (model(node("Gelu")), Reason.MODEL_UNSUPPORTED, ["'Gelu'", "opset 17"], ["opset"]),
    "custom domain": (
        model(node("Foo", "ai.onnx.contrib"), domains=[("ai.onnx.contrib", 1)]),
        Reason.MODEL_UNSUPPORTED,
        ["'ai.onnx.contrib:Foo'"],
        ["without 'ai.onnx.contrib:Foo'"],
    ),
    "domain without opset": (
        model(node("Foo", "com.acme")),
        Reason.MODEL_UNSUPPORTED,
        ["'Foo' of 'com.acme'"],
        ["without 'Foo'"],
    ),
    "no kernel": (
        model(node("Gelu"), opset=20, kind=TensorProto.BFLOAT16),
        Reason.MODEL_UNSUPPORTED,
        ["cannot compute"],
        ["float32"],
    ),
    "type": (
        model(node("Erf"), kind=TensorProto.STRING),
        Reason.MODEL_UNSUPPORTED,
        ["'Erf'", "tensor(string)"],
        ["types"],
    ),
    "external data missing": (
        external("data/weights.bin"),
        Reason.MODEL_INCOMPLETE,
        ["not there: data/weights.bin."],
        ["beside model.onnx"],
    ),
    "external data outside": (
        external("../outside.bin"),
        Reason.MODEL_INCOMPLETE,
        ["outside its folder: ../outside.bin."],
        ["beside model.onnx"],
    ),
    "external data by a link": (
        external("link.bin"),
        Reason.MODEL_INCOMPLETE,
        ["outside its folder: link.bin."],
        ["no links"],
    ),
    "external data, absolute": (
        external("/etc/passwd"),
        Reason.MODEL_INCOMPLETE,
        ["absolute path", "'w'"],
        ["beside model.onnx"],
    ),
    "external data cut off": (
        external("short.bin"),
        Reason.MODEL_INCOMPLETE,
        ["'w' is cut off", "4 bytes"],
        ["all of its files"],
    ),
}


def refused(folder: Path, content: bytes) -> StartError:
    path = folder / "current" / "onnx" / "model.onnx"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    (path.parent / "short.bin").write_bytes(b"1234")
    (path.parent / "link.bin").symlink_to("../../outside.bin")
    for outside in (folder / "current", folder):
        (outside / "outside.bin").write_bytes(b"12345678")
    with pytest.raises(StartError) as caught:
        engine.load(folder / "current", threads=1)
    return caught.value


@pytest.mark.parametrize(("content", "reason", "told", "hinted"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_corrupt_says_what_it_is(tmp_path, content, reason, told, hinted):
    error = refused(tmp_path, content)

    assert error.reason is reason
    assert [text for text in told if text not in error.message] == []
    assert [text for text in hinted if text not in error.hint] == []
    assert str(tmp_path) not in error.message


def test_names_of_any_length_cut_nothing_off_that_stands_behind_them(tmp_path):
    error = refused(tmp_path, model(node("F" * 3000)))
    assert error.message.endswith("…' in opset 17, which the model has.")


def test_a_classifier_of_skl2onnx_is_told_of_its_zipmap(tmp_path):
    zipmap = helper.make_node("ZipMap", ["x"], ["y"], domain="ai.onnx.ml", classlabels_int64s=[0, 1])
    output: Any = helper.make_value_info(
        "y",
        helper.make_sequence_type_proto(
            helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
        ),
    )
    graph = helper.make_graph(
        [zipmap], "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])], [output]
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]

    error = refused(tmp_path, helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString())

    assert error.reason is Reason.MODEL_UNSUPPORTED
    assert "{'zipmap': False}" in error.hint
