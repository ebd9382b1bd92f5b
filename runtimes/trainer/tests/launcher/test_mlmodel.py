"""What makes an exported model one of MLflow's own, and that it does not change from one attempt to the next.

That MLflow loads it and gives the served answers: test_together.py.
"""

from __future__ import annotations

import json

import pytest
import yaml

from headrace_trainer.launcher.model import mlmodel
from headrace_trainer.launcher.packages.installed import Pin, installed

SIGNATURE = {
    "inputs": [{"name": "text", "datatype": "BYTES", "shape": [-1]}],
    "outputs": [{"name": "score", "datatype": "FP32", "shape": [-1, 1]}],
}


def made(folder, formats, signature=SIGNATURE, there=None):
    folder.mkdir(parents=True)
    if "ONNX" in formats:
        (folder / "onnx").mkdir()
    if signature is not None:
        (folder / "signature.json").write_text(json.dumps(signature))
    mlmodel.write(folder, formats, installed() if there is None else there)
    return yaml.safe_load((folder / "MLmodel").read_text())


@pytest.mark.parametrize(
    ("formats", "loader", "flavors"),
    [
        (("ONNX",), "mlflow.onnx", {"onnx", "python_function"}),
        (("TensorFlow",), "mlflow.tensorflow", {"tensorflow", "python_function"}),
        (("ONNX", "TensorFlow"), "mlflow.onnx", {"onnx", "tensorflow", "python_function"}),
    ],
)
def test_each_format_is_a_flavor_and_the_smallest_runtime_loads_it(tmp_path, formats, loader, flavors):
    described = made(tmp_path / "model", formats)

    assert described["flavors"].keys() == flavors
    assert described["flavors"]["python_function"]["loader_module"] == loader
    assert (tmp_path / "model" / "onnx" / "MLmodel").exists() == ("ONNX" in formats)
    assert "mlflow==" in (tmp_path / "model" / "requirements.txt").read_text()


def test_the_signature_is_the_one_that_is_served(tmp_path):
    described = made(tmp_path / "model", ("TensorFlow",))

    [text] = json.loads(described["signature"]["inputs"])
    assert text == {"name": "text", "type": "tensor", "tensor-spec": {"dtype": "object", "shape": [-1]}}
    [score] = json.loads(described["signature"]["outputs"])
    assert score["tensor-spec"] == {"dtype": "float32", "shape": [-1, 1]}


@pytest.mark.parametrize(
    "signature", [None, [], {"inputs": []}, {**SIGNATURE, "outputs": [{"name": "a", "datatype": "BF16", "shape": []}]}]
)
def test_a_model_without_a_signature_that_mlflow_has_is_one_of_its_own_all_the_same(tmp_path, signature):
    assert "signature" not in made(tmp_path / "model", ("ONNX",), signature)


def test_the_same_model_has_the_same_bytes(tmp_path):
    files = []
    for name in ("a", "b"):
        made(tmp_path / name, ("ONNX", "TensorFlow"))
        files.append(
            {p.relative_to(tmp_path / name): p.read_bytes() for p in (tmp_path / name).rglob("*") if p.is_file()}
        )

    assert files[0] == files[1]


def test_what_loads_it_is_in_the_versions_that_the_script_had(tmp_path):
    image = {"tensorflow-cpu": Pin("tensorflow-cpu", "2.21.0"), "numpy": Pin("numpy", "2.0")}
    other = image | {"tensorflow": Pin("tensorflow", "2.19.0")}  # by requirements.txt

    made(tmp_path / "a", ("TensorFlow",), there=image)
    made(tmp_path / "b", ("TensorFlow",), there=other)

    assert (tmp_path / "a/requirements.txt").read_text().split() == ["tensorflow-cpu==2.21.0", "numpy==2.0"]
    assert (tmp_path / "b/requirements.txt").read_text().split() == ["tensorflow==2.19.0", "numpy==2.0"]
