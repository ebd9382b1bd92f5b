"""Each model of the gallery is trained by the launcher as its own TrainingJob says, meets the gate that stands there,
and is one model: Keras' (or scikit-learn's) own answers are those of both servers. Its client gets a sensible one.

`scripts/test gallery` runs all of them, every other run two. With HEADRACE_RECORD in the environment what was measured
goes into outcomes.json, of which docs/reference/gallery.md is made (table.py); without it what is there has to be so.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import served
import yaml
from pods import Pod, fetched
from trainer_support import S3, Launched, Mlflow

from gallery.rows import ROWS, Row, outcomes, record

IS_WHOLE = "HEADRACE_WHOLE_GALLERY" in os.environ
RECORDS = "HEADRACE_RECORD" in os.environ
CLIENT_SECONDS = 120


@pytest.mark.timeout(900)
@pytest.mark.parametrize("row", [row for row in ROWS if IS_WHOLE or row.in_every_run], ids=lambda row: row.name)
def test_it_is_trained_as_its_job_says_and_is_one_model_on_every_server(
    row: Row, tmp_path: Path, launch: Any, s3: S3, mlflow: Mlflow
) -> None:
    if row.needs and importlib.util.find_spec(row.needs) is None:
        pytest.skip(f"{row.needs} is not installed: scripts/environment gallery")
    spec, bucket = spec_of(row, tmp_path), s3.bucket()
    program = row.folder / spec["entrypoint"]
    config = config_of(spec, bucket, s3, mlflow)
    pod = Pod(program, row.questions, config, launch, tmp_path / "answers.json", "own_answers")
    launched, seconds = pod.undisturbed()
    assert launched.process.returncode == 0, launched.log[-3000:]
    [gate] = spec["evaluation"]["gates"]
    score = launched.record["metrics"][gate["metric"]]
    assert meets(gate, score), f"{gate} and {score}"

    formats = launched.record["model"]["formats"]
    assert sorted(formats) == sorted(spec["output"]["formats"]), launched.record.get("modelNote")
    model = fetched(launched.record["model"]["uri"], bucket, s3, tmp_path / "model")
    own = own_answers(row, pod, launched, model)
    with served.onnxruntime(model, "served") as server:
        answers = served.asked_by_name(server, "served", own["inputs"])
        assert_equal(answers, own["outputs"], "ONNX Runtime")
        # Augmentation and dropout are for the training: the same question has one answer.
        assert served.asked_by_name(server, "served", own["inputs"]) == answers
        said = client(row, server, "served", tmp_path)
    assert re.search(row.says, said), said
    equal_on = ["ONNX Runtime"]
    if "TensorFlow" in spec["output"]["formats"]:
        in_order = served.by_tensorflow_serving(model, own["inputs"])
        named = dict(zip(served.outputs_of(model), in_order, strict=True))
        assert_equal(named, own["outputs"], "TensorFlow Serving")
        equal_on.append("TensorFlow Serving")

    outcome = {
        "formats": formats,
        "equal on": equal_on,
        "parameters": parameters_of(launched),
        "KiB": {name: size(model / name.lower()) for name in spec["output"]["formats"]},
        "seconds": round(seconds),
        "gate": " ".join(f"{name} {value}" for name, value in gate.items() if name != "metric"),
        "score": f"{gate['metric']} {score:.3f}",
    }
    print(said, json.dumps({row.name: outcome}), sep="\n")
    if RECORDS:
        record(row.name, outcome)
    lasting = ("formats", "equal on", "parameters", "gate")
    assert {name: outcome[name] for name in lasting} == {name: outcomes()[row.name][name] for name in lasting}


def spec_of(row: Row, folder: Path) -> dict[str, Any]:
    """That of its TrainingJob; data that have to be prepared are, into the folder."""
    jobs = list(yaml.safe_load_all((row.folder / "trainingjob.yaml").read_text()))
    spec: dict[str, Any] = jobs[row.job]["spec"]
    prepare, data = row.folder / "prepare.py", folder / "corpus.npz"
    if not prepare.is_file():
        return spec | {"parameters": spec["parameters"] | row.changes}
    subprocess.run([sys.executable, str(prepare), f"--output={data}"], check=True, timeout=CLIENT_SECONDS)
    return spec | {"parameters": spec["parameters"] | row.changes | {"data": str(data)}}


def config_of(spec: dict[str, Any], bucket: str, s3: S3, mlflow: Mlflow) -> dict[str, Any]:
    """As the operator makes it of such a spec."""
    config = {
        "framework": spec.get("framework", "Keras"),
        "parameters": spec["parameters"],
        "storage": {"endpoint": s3.endpoint, "region": "us-east-1"},
        "tracking": mlflow.experiment(spec["tracking"]["experiment"], f"s3://{bucket}/artifacts"),
        "output": {"formats": spec["output"]["formats"]},
    }
    if "checkpoint" in spec:
        config["checkpoint"] = {"uri": f"s3://{bucket}/checkpoints", "intervalSeconds": 30, "keep": 2}
    return config


def meets(gate: dict[str, str], score: float) -> bool:
    least, most = Decimal(gate.get("min", "-Infinity")), Decimal(gate.get("max", "Infinity"))
    return least <= Decimal(score) <= most


def own_answers(row: Row, pod: Pod, launched: Launched, model: Path) -> dict[str, Any]:
    """Inputs and outputs by name, as the process that trained has computed them."""
    if row.questions:
        return pod.answers
    [kept] = launched.work.rglob("answers.json")
    answers: dict[str, Any] = json.loads(kept.read_text())
    return answers | {"outputs": dict(zip(served.outputs_of(model), answers["outputs"], strict=True))}


def assert_equal(given: dict[str, Any], own: dict[str, Any], server: str) -> None:
    assert given.keys() == own.keys()
    for name, values in own.items():
        served.assert_same(given[name], values, served.TOLERANCE, f"{name} by {server}")


def client(row: Row, server: str, model: str, folder: Path) -> str:
    """What it prints, by a Python that has nothing but its standard library."""
    command = [sys.executable, "-I", "-S", str(row.folder / "client.py"), server, model, *row.asked]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=CLIENT_SECONDS)
    assert done.returncode == 0, done.stderr
    return done.stdout


def parameters_of(launched: Launched) -> int | None:
    """How many numbers the model has; None where they are no weights."""
    for kept in launched.work.rglob("weights.npz"):
        with np.load(kept) as arrays:
            return sum(int(arrays[name].size) for name in arrays.files)
    return None


def size(folder: Path) -> int:
    """Of all files in it, in KiB."""
    return round(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1024)
