"""`headrace_client.export` of an ONNX model whose weights lie in other files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import headrace_client
from headrace_client import _onnx_files


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder of the job's model."""
    root = tmp_path / "export"
    root.mkdir()
    monkeypatch.setenv("HEADRACE_MESSAGES", str(tmp_path / "nobody-listens"))
    monkeypatch.setenv("HEADRACE_EXPORT_DIR", str(root))
    return root / "onnx"


def weight(name: str, location: str) -> TensorProto:
    tensor = numpy_helper.from_array(np.full((3,), 2.0, "float32"), name)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return tensor


def model(*locations: str, inside: str | None = None) -> onnx.ModelProto:
    """Multiplies x by a weight in each file; with `inside` one more, in a branch of the graph."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [3]) for name in ("x", "y")]
    steps = ["x", *(f"t{index}" for index in range(len(locations)))]
    nodes = [helper.make_node("Mul", [steps[i], f"w{i}"], [steps[i + 1]]) for i in range(len(locations))]
    nodes.append(helper.make_node("Identity", [steps[-1]], ["y"]))
    if inside is not None:
        constant = helper.make_node("Constant", [], ["c"], value=weight("c", inside))
        branch = helper.make_graph([constant], "b", [], [helper.make_tensor_value_info("c", TensorProto.FLOAT, [3])])
        nodes.append(helper.make_node("If", ["yes"], ["z"], then_branch=branch, else_branch=branch))
    weights = [weight(f"w{index}", location) for index, location in enumerate(locations)]
    if inside is not None:
        weights.append(numpy_helper.from_array(np.array(True), "yes"))
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def saved(folder: Path, made: onnx.ModelProto, *files: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "net.onnx"
    path.write_bytes(made.SerializeToString())
    for name in files:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(np.full((3,), 2.0, "float32").tobytes())
    return path


def test_all_files_with_weights_go_along_and_the_model_can_be_asked(exported: Path, tmp_path: Path) -> None:
    path = saved(tmp_path / "work", model("net.bin", "parts/one"), "net.bin", "parts/one", "another model's")

    headrace_client.export(path, format="ONNX")

    files = {file.relative_to(exported).as_posix() for file in exported.rglob("*") if file.is_file()}
    assert files == {"model.onnx", "net.bin", "parts/one"}
    session = onnxruntime.InferenceSession(exported / "model.onnx")
    assert session.run(None, {"x": np.ones(3, "float32")})[0].tolist() == [4.0, 4.0, 4.0]


def test_weights_in_branches_are_found(exported: Path, tmp_path: Path) -> None:
    path = saved(tmp_path / "work", model("a", "b", inside="deep/c"), "a", "b", "deep/c")

    assert _onnx_files.external(path) == ["deep/c", "a", "b"]


def test_a_file_that_is_missing_is_told(exported: Path, tmp_path: Path) -> None:
    path = saved(tmp_path / "work", model("net.bin"))

    with pytest.raises(FileNotFoundError, match=r"has weights in 'net\.bin', and there is no such file beside it"):
        headrace_client.export(path, format="ONNX")
    assert not exported.exists()


@pytest.mark.parametrize("location", ["../net.bin", "parts/../../net.bin", "/etc/hostname", ".", ""])
def test_weights_outside_of_the_folder_are_refused(exported: Path, tmp_path: Path, location: str) -> None:
    (tmp_path / "net.bin").write_bytes(bytes(12))
    path = saved(tmp_path / "work", model(location))

    with pytest.raises(ValueError, match="which is not in its folder: save them beside the model"):
        headrace_client.export(path, format="ONNX")
    assert not exported.exists()


def test_weights_where_the_model_itself_will_lie_are_refused(exported: Path, tmp_path: Path) -> None:
    path = saved(tmp_path / "work", model("model.onnx"), "model.onnx")

    with pytest.raises(ValueError, match=r"has weights in 'model\.onnx', which is what the model itself is called"):
        headrace_client.export(path, format="ONNX")


@pytest.mark.parametrize("content", [b"", b"\xff" * 40, b"no model at all", b"\x3a\x7f"])
def test_what_is_no_model_has_no_files(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(content)

    assert _onnx_files.external(path) == []


def test_a_decoder_is_handed_over_with_all_of_its_folder(exported: Path, tmp_path: Path) -> None:
    folder = tmp_path / "writer"
    folder.mkdir()
    for name in ("genai_config.json", "model.onnx", "tokenizer.json"):
        (folder / name).write_text(name)

    headrace_client.export(folder, format="Text")

    files = {path.name: path.read_text() for path in (exported.parent / "text").iterdir()}
    assert files == {path.name: path.name for path in folder.iterdir()}
    with pytest.raises(FileNotFoundError, match=r"with genai_config\.json in it"):
        headrace_client.export(exported.parent, format="Text")
