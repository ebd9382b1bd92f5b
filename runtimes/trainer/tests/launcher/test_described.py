"""A model that a program hands over is described by its own files: signature.json, and the run's tag."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from headrace_common.own_signature import NotDescribed, own_signature
from headrace_common.signature import Signature, Tensor, of_file
from headrace_trainer.launcher.model import described

INFO = helper.make_tensor_value_info
DESCRIBED = Signature({"x": Tensor("FP32", (-1, 4))}, {"y": Tensor("FP32", (-1, 4))})


def save_onnx(folder: Path, *, shape=("rows", 4)) -> Path:
    x, y = INFO("x", TensorProto.FLOAT, shape), INFO("y", TensorProto.FLOAT, shape)
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [x], [y])
    path = folder / "onnx" / "model.onnx"
    path.parent.mkdir(parents=True)
    onnx.save(helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """SavedModels of TensorFlow's own making, each in a folder of its name."""
    folder = tmp_path_factory.mktemp("saved")
    script = """
        import pathlib, sys
        import tensorflow as tf
        from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

        Spec = tf.TensorSpec
        TWO = [Spec([None, 4], tf.float32, "x"), Spec([], tf.string, "words")]

        class Model(tf.Module):
            @tf.function(input_signature=TWO)
            def two(self, x, words):
                return {"sum": tf.reduce_sum(x, 1), "words": words, "half": tf.cast(x[:2], tf.float16)}

            @tf.function(input_signature=[Spec(None, tf.int64, "x")])
            def any_rank(self, x):
                return {"y": x}

            @tf.function(input_signature=[Spec([1], tf.complex64, "x")])
            def complex(self, x):
                return {"y": x}

        model = Model()
        for name in ("two", "any_rank", "complex"):
            tf.saved_model.save(model, f"{sys.argv[1]}/{name}/tensorflow", signatures=getattr(model, name))
        tf.saved_model.save(model, f"{sys.argv[1]}/other/tensorflow", signatures={"other": model.two})

        whole = SavedModel.FromString(pathlib.Path(sys.argv[1], "two", "tensorflow", "saved_model.pb").read_bytes())
        for name in ("sparse", "twice"):
            made = SavedModel()
            made.CopyFrom(whole)
            if name == "twice":
                made.meta_graphs.append(whole.meta_graphs[0])
            else:  # TensorFlow 1 wrote such
                of_x = made.meta_graphs[0].signature_def["serving_default"].inputs["x"]
                of_x.coo_sparse.values_tensor_name = "values:0"  # it is the name, or this
            (folder := pathlib.Path(sys.argv[1], name, "tensorflow")).mkdir(parents=True)
            (folder / "saved_model.pb").write_bytes(made.SerializeToString())
        """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script), folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


def test_a_saved_model_is_described_by_the_signature_that_servers_ask(saved):
    assert own_signature("TensorFlow", saved / "two" / "tensorflow" / "saved_model.pb") == Signature(
        {"x": Tensor("FP32", (-1, 4)), "words": Tensor("BYTES", ())},
        {"sum": Tensor("FP32", (-1,)), "words": Tensor("BYTES", ()), "half": Tensor("FP16", (-1, 4))},
    )


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("any_rank", "input 'x' has no fixed number of dimensions"),
        ("sparse", "input 'x' is no dense tensor"),
        ("complex", "input 'x' has values of type 8, for which the Open Inference Protocol has no word"),
        ("twice", "2 of its 2 graphs have the tag serve, and it has to be one"),
        ("other", "it has no signature serving_default"),
    ],
)
def test_a_saved_model_that_cannot_be_described_says_why(saved, name, why):
    with pytest.raises(NotDescribed) as told:
        own_signature("TensorFlow", saved / name / "tensorflow" / "saved_model.pb")
    assert str(told.value) == why


def test_onnx_is_described_as_its_server_sees_it(tmp_path):
    shapes = [("rows", 4), (), (0, 2), (None, -1)]
    for index, shape in enumerate(shapes):
        path = save_onnx(tmp_path / str(index), shape=shape)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        served = [size if isinstance(size, int) and size >= 0 else -1 for size in session.get_inputs()[0].shape]
        assert list(own_signature("ONNX", path).inputs["x"].shape) == served, shape


def test_the_file_is_written_beside_the_formats(tmp_path):
    save_onnx(tmp_path)
    described.describe(tmp_path, ("ONNX",))
    assert of_file(tmp_path / "signature.json") == DESCRIBED


def test_what_the_program_says_itself_stays(tmp_path):
    save_onnx(tmp_path)
    (tmp_path / "signature.json").write_text("theirs")
    described.describe(tmp_path, ("ONNX",))
    assert (tmp_path / "signature.json").read_text() == "theirs"


def test_formats_that_say_different_things_are_not_described_and_both_are_told(tmp_path, saved, capsys):
    save_onnx(tmp_path)
    (tmp_path / "tensorflow").symlink_to(saved / "two" / "tensorflow")
    described.describe(tmp_path, ("ONNX", "TensorFlow"))
    assert not (tmp_path / "signature.json").exists()
    told = capsys.readouterr().err
    assert 'ONNX says {"inputs":{"x":"FP32 [-1,4]"}' in told
    assert 'TensorFlow says {"inputs":{"words":"BYTES []"' in told


def save_text(folder: Path) -> None:
    (folder / "text").mkdir()
    (folder / "text" / "genai_config.json").write_text("{}")


@pytest.mark.parametrize("formats", [("ONNX", "Text"), ("Keras", "ONNX", "Text")])
def test_a_format_whose_file_says_no_signature_takes_none_from_the_others(tmp_path, capsys, formats):
    save_onnx(tmp_path)
    save_text(tmp_path)
    described.describe(tmp_path, formats)
    assert of_file(tmp_path / "signature.json") == DESCRIBED
    assert capsys.readouterr().err == ""


def test_the_others_are_compared_all_the_same(tmp_path, saved, capsys):
    save_onnx(tmp_path)
    save_text(tmp_path)
    (tmp_path / "tensorflow").symlink_to(saved / "two" / "tensorflow")
    described.describe(tmp_path, ("ONNX", "TensorFlow", "Text"))
    assert not (tmp_path / "signature.json").exists()
    assert "ONNX says {" in capsys.readouterr().err


def test_a_model_of_such_formats_alone_is_not_described(tmp_path, capsys):
    save_text(tmp_path)
    described.describe(tmp_path, ("Text",))
    assert not (tmp_path / "signature.json").exists()
    assert "its versions are not compared: signatures are not read of Text" in capsys.readouterr().err


def test_a_fault_of_the_look_is_a_line_in_the_log(tmp_path, monkeypatch, capsys):
    save_onnx(tmp_path)
    monkeypatch.setattr(described, "own_signature", lambda format, path: 1 / 0)
    described.describe(tmp_path, ("ONNX",))
    assert "the model has no signature.json, and its versions are not compared: a fault of" in capsys.readouterr().err
    assert not (tmp_path / "signature.json").exists()


HANDS_OVER = """
    import headrace_client as headrace
    headrace.export({path!r}, format="ONNX")
    """


def test_the_run_and_the_manifest_have_what_was_read_of_a_model_that_was_handed_over(
    program, mlflow, s3, outside, tmp_path
):
    bucket, config = outside
    launched = program(HANDS_OVER.format(path=str(save_onnx(tmp_path))), config=config)
    assert launched.wait() == 0, launched.log
    [run] = mlflow.runs(config["tracking"]["experimentId"])
    tags = {tag["key"]: tag["value"] for tag in run["data"]["tags"]}
    assert tags["headrace.signature"] == DESCRIBED.as_text()
    prefix = launched.record["model"]["uri"].removeprefix(f"s3://{bucket}/")
    manifest = json.loads(s3.get(bucket, f"{prefix}/manifest.json"))
    assert "signature.json" in {file["path"] for file in manifest["files"]}
    assert s3.get(bucket, f"{prefix}/signature.json").decode() == DESCRIBED.as_file()


def test_a_model_that_cannot_be_described_is_registered_and_the_log_says_why(program, mlflow, outside, tmp_path):
    config = outside[1]
    path = save_onnx(tmp_path, shape=None)
    launched = program(HANDS_OVER.format(path=str(path)), config=config)
    assert launched.wait() == 0, launched.log
    assert launched.record["model"]["formats"] == ["ONNX"]
    assert "not compared: onnx/model.onnx: input 'x' has no shape" in launched.log
    [run] = mlflow.runs(config["tracking"]["experimentId"])
    tags = {tag["key"]: tag["value"] for tag in run["data"]["tags"]}
    assert tags["headrace.signature"] == "unknown"
