"""A model that a program hands over is looked at before it becomes a version: only what a server can read does."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from headrace_trainer.launcher.frameworks.script import SCRIPT
from headrace_trainer.launcher.messages import Exported
from headrace_trainer.launcher.model import mlmodel
from headrace_trainer.launcher.model import upload as model
from headrace_trainer.launcher.model.handed_over import fault

OVERRUN = b"\x08\x08\x3a\x02\x0a\x7f"  # a node that is longer than its graph, and than the file
NO_MODEL = "onnx/model.onnx is no ONNX model"


def save_onnx(folder: Path, *, location: str | None = None) -> Path:
    """A product with 100 x 100 weights, in a file of their own where `location` names one."""
    weights = numpy_helper.from_array(np.random.rand(100, 100).astype("float32"), "w")
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 100]) for name in "xy")
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", [x], [y], [weights])
    path = folder / "onnx" / "model.onnx"
    path.parent.mkdir(parents=True)
    onnx.save(helper.make_model(graph), path, save_as_external_data=location is not None, location=location)
    return path


def test_models_that_are_whole_have_no_fault(tmp_path):
    save_onnx(tmp_path / "one")
    save_onnx(tmp_path / "two", location="weights.bin")
    assert [fault("ONNX", tmp_path / name) for name in ("one", "two")] == [None, None]


def test_weights_that_were_not_handed_over_are_named(tmp_path):
    path = save_onnx(tmp_path, location="weights.bin")
    weights = path.with_name("weights.bin")
    with weights.open("r+b") as file:
        file.truncate(39_999)
    assert fault("ONNX", tmp_path) == "weights.bin has 39999 bytes, and the weights w end at byte 40000"
    weights.unlink()
    assert fault("ONNX", tmp_path) == "its weights are in weights.bin, which was not handed over with it"


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd"])
def test_weights_outside_of_the_model_s_folder_are_refused(tmp_path, location):
    (tmp_path / "secret").write_bytes(b"x" * 40_000)
    path = save_onnx(tmp_path, location="weights.bin")
    loaded = onnx.load(path, load_external_data=False)
    loaded.graph.initializer[0].external_data[0].value = location
    path.write_bytes(loaded.SerializeToString())
    assert fault("ONNX", tmp_path) == f"its weights are in {location}, outside of its folder"


@pytest.mark.parametrize(
    "content", [b"", b"the bytes", b"PK\x03\x04 a zip", b"\x08\x08", b"\x08\x08\x3a\x05ab", OVERRUN]
)
def test_what_is_no_onnx_model_is_told(tmp_path, content):
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx" / "model.onnx").write_bytes(content)
    assert (fault("ONNX", tmp_path) or "").startswith(NO_MODEL)


def test_no_bytes_are_an_error_of_the_launcher_s(tmp_path):
    path, whole = tmp_path / "onnx" / "model.onnx", save_onnx(tmp_path, location="w.bin").read_bytes()
    draw = random.Random(0)
    for _ in range(300):
        broken = bytearray(whole)
        for _ in range(draw.randint(1, 4)):
            broken[draw.randrange(len(broken))] = draw.randrange(256)
        path.write_bytes(broken[: draw.randint(1, len(broken))])
        fault("ONNX", tmp_path)  # raises nothing


SAVED_MODEL = b"\x08\x01\x12\x00"  # a version, and one graph with nothing in it


def with_variable() -> bytes:
    """A graph with one node, `VarHandleOp`."""
    node = b"\x12\x0bVarHandleOp"
    graph = b"\x0a" + bytes([len(node)]) + node
    meta = b"\x12" + bytes([len(graph)]) + graph
    return b"\x08\x01\x12" + bytes([len(meta)]) + meta


def with_asset() -> bytes:
    """A graph that reads `assets/words.txt`."""
    asset = b"\x12\x09words.txt"
    meta = b"\x32" + bytes([len(asset)]) + asset
    return b"\x08\x01\x12" + bytes([len(meta)]) + meta


@pytest.mark.parametrize(
    ("content", "files", "told"),
    [
        (SAVED_MODEL, (), None),
        (b"", (), "tensorflow/saved_model.pb is no SavedModel: it is empty"),
        (b"the bytes", (), "tensorflow/saved_model.pb is no SavedModel: it is no protobuf"),
        (b"\x08\x01", (), "tensorflow/saved_model.pb is no SavedModel: it has no graph"),
        (with_variable(), (), "variables/variables.index was not handed over with it"),
        (with_variable(), ("variables.index",), "variables/variables.data-… was not handed over with it"),
        (
            with_variable(),
            ("variables.index", "variables.data-00000-of-00002"),
            "variables/variables.data-00001-of-00002 was not handed over with it",
        ),
        (with_variable(), ("variables.index", "variables.data-00000-of-00001"), None),
        (with_asset(), (), "assets/words.txt was not handed over with it"),
    ],
)
def test_what_a_saved_model_cannot_be_without(tmp_path, content, files, told):
    (tmp_path / "tensorflow" / "variables").mkdir(parents=True)
    (tmp_path / "tensorflow" / "saved_model.pb").write_bytes(content)
    for name in files:
        (tmp_path / "tensorflow" / "variables" / name).touch()
    assert fault("TensorFlow", tmp_path) == told


CONFIG = b'{"model": {"decoder": {"filename": "model.onnx"}}}'


@pytest.mark.parametrize(
    ("content", "files", "told"),
    [
        (CONFIG, ("model.onnx", "tokenizer.json"), None),
        (CONFIG.replace(b'"filename": "model.onnx"', b""), ("model.onnx", "tokenizer.json"), None),
        (CONFIG, ("model.onnx",), "tokenizer.json, which it needs, was not handed over with it"),
        (CONFIG, ("tokenizer.json",), "model.onnx, which it needs, was not handed over with it"),
        (b"", (), "text/genai_config.json is no config of a decoder: it is empty"),
        (b"{}", (), "it is no JSON with model.decoder in it, as onnxruntime-genai has it"),
    ],
)
def test_what_a_decoder_cannot_be_without(tmp_path, content, files, told):
    graph = save_onnx(tmp_path / "made").read_bytes()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "genai_config.json").write_bytes(content)
    for name in files:
        (tmp_path / "text" / name).write_bytes(graph)
    assert fault("Text", tmp_path) == told


def test_a_decoder_that_was_handed_over_becomes_a_version_where_it_is_asked_for(tmp_path):
    graph = save_onnx(tmp_path / "made").read_bytes()
    folder = tmp_path / "export"
    (folder / "text").mkdir(parents=True)
    (folder / "text" / "genai_config.json").write_bytes(CONFIG)
    for name in ("model.onnx", "tokenizer.json"):
        (folder / "text" / name).write_bytes(graph)

    export = model.judge_export(("Text",), Exported(folder, ("Text",)), {}, folder, SCRIPT)
    mlmodel.write(folder, export.made, {})

    assert (export.made, export.problems) == (("Text",), [])
    assert (folder / "requirements.txt").is_file()
    assert not (folder / "MLmodel").exists()


def test_a_bad_format_does_not_keep_the_other_back(tmp_path):
    save_onnx(tmp_path)
    (tmp_path / "tensorflow").mkdir()
    (tmp_path / "tensorflow" / "saved_model.pb").write_bytes(b"\x08\x01")
    formats = ("ONNX", "TensorFlow")
    export = model.judge_export(formats, Exported(tmp_path, formats), {}, tmp_path, SCRIPT)
    assert export.made == ("ONNX",)
    reason = "tensorflow/saved_model.pb is no SavedModel: it has no graph"
    assert export.note == f"TensorFlow was handed over and cannot be used: {reason}"
