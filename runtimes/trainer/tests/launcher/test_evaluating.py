"""A stage of evaluation as its pod runs it, against a real store and a real MLflow: models fetched by their digests,
judged, and what was found kept.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from trainer_support import wait_until

from headrace_common import manifest
from headrace_common.evaluation import slice_of

ROWS = 120
COUNT = 3  # of classes
EXPLAIN = {"method": "Auto", "samples": 4, "background": 10, "budget": 40, "values": True, "deadlineSeconds": 60}


def onnx_model(weight):
    """A linear model of three classes, made by hand: no framework is loaded for it."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    matrix = (np.eye(COUNT) * weight + 0.05).astype("float32")
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"]), helper.make_node("Softmax", ["y"], ["species"])]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, COUNT])],
        [helper.make_tensor_value_info("species", TensorProto.FLOAT, [None, COUNT])],
        [numpy_helper.from_array(matrix, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    onnx.checker.check_model(model)
    return model.SerializeToString()


def rows():
    random = np.random.default_rng(0)
    label = random.integers(0, COUNT, ROWS)
    x = np.eye(COUNT)[label] + random.normal(scale=0.7, size=(ROWS, COUNT))
    region = np.array(["north", "söuth"])[random.integers(0, 2, ROWS)]
    sex = np.array(["f", "m"])[random.integers(0, 2, ROWS)]
    return {"x": x.astype("float32"), "label": label, "region": region, "sex": sex}


def put_model(s3, bucket, key, files):
    """As the launcher of a training leaves it; its address and digest."""
    listed = tuple(
        manifest.File(path, hashlib.sha256(data).hexdigest(), len(data)) for path, data in sorted(files.items())
    )
    content = manifest.encode(listed, {"formats": {"ONNX": "onnx"}})
    for path, data in files.items():
        s3.put(bucket, f"{key}/{path}", data)
    s3.put(bucket, f"{key}/manifest.json", content)
    return {"uri": f"s3://{bucket}/{key}", "digest": manifest.digest_of(content)}


@pytest.fixture
def bucket(s3):
    name = s3.bucket()
    data = io.BytesIO()
    np.savez(data, **rows())
    s3.put(name, "heldout/test.npz", data.getvalue())
    return name


@pytest.fixture
def models(s3, bucket):
    """One that takes the greatest number, one that takes the least, and one that is not sure of the greatest."""
    weights = {"good": 6.0, "bad": -2.0, "dull": 1.0}
    return {
        name: put_model(s3, bucket, f"models/{name}", {"onnx/model.onnx": onnx_model(weight)})
        for name, weight in weights.items()
    }


@pytest.fixture
def evaluate(launch, program, s3, mlflow, bucket, models, tmp_path):
    """Starts a stage of evaluation of the model `name`."""
    tracking = mlflow.experiment("evaluate", f"s3://{bucket}/artifacts")
    body = {"experiment_id": tracking["experimentId"], "run_name": "job", "start_time": 1}
    body["tags"] = [{"key": "headrace.uid", "value": "uid-1"}]
    parent = mlflow.call("POST", "runs/create", body)["run"]["info"]["run_id"]
    mlflow.call("POST", "runs/log-batch", {"run_id": parent, "params": [{"key": "rate", "value": "0.1"}]})
    mlflow.call("POST", "runs/update", {"run_id": parent, "status": "FINISHED"})
    started = []

    def start(name="good", *, baseline="", attempt=1, script=None, data=None, env=None, **wanted):
        started.append(name)
        told = {"task": "Classification", "model": models[name], "parent": parent, **wanted}
        if told["task"] != "Script":
            told["data"] = {"dataset": "heldout", "path": "test.npz", "positive": "1", **(data or {})}
        if baseline:
            told["baseline"] = {**models[baseline], "version": "4", "alias": "champion"}
        config = {
            "protocol": 2,
            "stage": "evaluate",
            "evaluate": told,
            "job": {"namespace": "team-a", "name": "job", "uid": "uid-1", "attempt": attempt},
            "datasets": [
                {"name": "heldout", "uri": f"s3://{bucket}/heldout/", "path": str(tmp_path / f"data-{len(started)}")}
            ],
            "storage": {"endpoint": s3.endpoint, "region": "us-east-1"},
            "tracking": tracking,
            "framework": "Script",
        }
        if script is None:
            config["source"] = {"path": str(tmp_path / "no-source"), "entrypoint": ""}
        return program(script or "", config=config, env=env)

    start.experiment, start.parent, start.models = tracking["experimentId"], parent, models
    return start


def run_of(mlflow, launched, evaluate):
    found = mlflow.runs(evaluate.experiment)
    return next(run for run in found if run["info"]["run_id"] == launched.record["run"]["id"])


def metrics_of(run):
    return {one["key"]: one["value"] for one in run["data"].get("metrics", ())}


def tags_of(run):
    return {one["key"]: one["value"] for one in run["data"]["tags"]}


def test_what_was_judged_is_in_the_record_the_runs_and_the_artifacts(evaluate, s3, mlflow, bucket):
    comparisons = [{"metric": "accuracy", "slice": slice_of("region", "söuth"), "confidence": 0.9}]
    launched = evaluate(
        baseline="bad",
        slices=["region"],
        sensitive=["sex"],
        comparisons=comparisons,
        explain={**EXPLAIN, "importance": True},
    )
    assert launched.wait(120) == 0, launched.log

    given, heldout = evaluate.models, rows()
    accuracy = (heldout["x"].argmax(axis=1) == heldout["label"]).mean()
    record = launched.record
    assert record["outcome"] == "Succeeded"
    assert record["evaluation"] == {
        "digest": given["good"]["digest"],
        "baselineDigest": given["bad"]["digest"],
        "samples": ROWS,
        "explained": 4,
    }
    assert "message" not in record
    assert record["metrics"]["accuracy"] == pytest.approx(accuracy)

    run = run_of(mlflow, launched, evaluate)
    metrics, tags = metrics_of(run), tags_of(run)
    assert run["info"]["status"] == "FINISHED"
    assert metrics["accuracy"] == pytest.approx(accuracy)
    south = heldout["region"] == "söuth"
    key = "accuracy/region:s::c3::b6uth"
    assert metrics[key] == pytest.approx((heldout["x"].argmax(axis=1) == heldout["label"])[south].mean())
    assert metrics[f"samples/{key}"] == south.sum()
    assert metrics[f"difference_low/{key}"] <= metrics[f"difference/{key}"] <= metrics[f"difference_high/{key}"]
    assert metrics[f"worse_by/{key}"] < 0
    assert metrics["baseline/accuracy"] < metrics["accuracy"]
    assert 0 <= metrics["equalized_odds_difference/sex"] <= 1
    assert tags["headrace.evaluated.digest"] == given["good"]["digest"]
    assert (tags["headrace.baseline.digest"], tags["headrace.baseline.version"]) == (given["bad"]["digest"], "4")
    assert tags["mlflow.parentRunId"] == evaluate.parent
    assert tags["mlflow.note.content"].startswith("# Model card: job\n\n## Model\n")
    assert "rate | 0.1" in tags["mlflow.note.content"]

    job = next(run for run in mlflow.runs(evaluate.experiment) if run["info"]["run_id"] == evaluate.parent)
    assert metrics_of(job)["evaluate/accuracy"] == pytest.approx(accuracy)
    assert not any("region" in name for name in metrics_of(job))
    assert job["info"]["status"] == "FINISHED"

    place = f"artifacts/{run['info']['run_id']}/artifacts/evaluation/"
    kept = {name.removeprefix(place) for name in s3.keys(bucket, place)}
    assert {"evaluation.json", "slices.csv", "model_card.md", "model_card.html", "environment.lock", "roc.png"} <= kept
    assert {"explanations.json", "explanations.png", "importance.png"} <= kept
    explained = json.loads(s3.get(bucket, f"{place}explanations.json"))
    assert (explained["method"], len(explained["rows"])) == ("Shapley", 4)
    assert "## Explanations" in tags["mlflow.note.content"]
    told = json.loads(s3.get(bucket, f"{place}evaluation.json"))
    assert told["about"]["datasetDigest"].startswith("sha256:")
    assert "scikit-learn==" in s3.get(bucket, f"{place}environment.lock").decode()


def test_an_attempt_that_was_killed_and_the_next_one_come_to_the_same_numbers(evaluate, mlflow):
    """The first one's node is lost while it hands over what it has found."""
    explain = {**EXPLAIN, "target": "9"}
    first = evaluate(baseline="dull", explain=explain)
    found = first.work / ".headrace" / "results" / "evaluation.json"
    wait_until(lambda: found.is_file() or first.process.poll() is not None, 120, "it has judged")
    first.process.kill()
    first.process.wait()
    second = evaluate(baseline="dull", attempt=2, explain=explain)
    assert second.wait(120) == 0, second.log
    assert "evaluate.explain.target is '9', and what can be explained has 0, 1, 2" in second.record["message"]
    assert "explained" not in second.record["evaluation"]

    again = second.work / ".headrace" / "results" / "evaluation.json"
    numbers = [json.loads(one.read_text()) for one in (again, found)]
    # The first one may have been killed before or after its explanations.
    numbers = [{key: value for key, value in one.items() if key != "explanations"} for one in numbers]
    assert numbers[0] == numbers[1]
    metrics = metrics_of(run_of(mlflow, second, evaluate))
    assert metrics["worse_by/accuracy"] <= 0
    assert len(mlflow.history(second.record["run"]["id"], "worse_by/accuracy")) == 1
    assert len(mlflow.history(evaluate.parent, "evaluate/accuracy")) == 1


def test_a_process_that_dies_of_explaining_has_judged_the_model(evaluate):
    explain = {**EXPLAIN, "samples": 300, "background": 300, "budget": 1_000_000}
    launched = evaluate(explain=explain)
    found = launched.work / ".headrace" / "results" / "evaluation.json"
    wait_until(lambda: found.is_file() or launched.process.poll() is not None, 120, "it has judged")
    pid = launched.process.pid
    [child] = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    os.kill(int(child), signal.SIGKILL)

    assert launched.wait(60) == 0, launched.log
    assert launched.record["evaluation"]["samples"] == ROWS
    assert "explained" not in launched.record["evaluation"]
    assert "the process that explains has ended before it was done" in launched.record["message"]


def test_one_that_is_told_to_stop_is_interrupted(evaluate, mlflow):
    launched = evaluate()
    wait_until(lambda: launched.progress.get("state") == "Evaluating", 60, "the process runs")
    launched.process.send_signal(signal.SIGTERM)
    assert launched.wait(30) == 6
    assert (launched.record["outcome"], launched.record["reason"]) == ("Interrupted", "Terminated")
    assert "evaluation" not in launched.record


CHANGES = {
    "another file": lambda s3, bucket: s3.put(bucket, "models/good/onnx/model.onnx", b"x" * 200),
    "other bytes of this size": lambda s3, bucket: s3.put(
        bucket, "models/good/onnx/model.onnx", b"x" * len(s3.get(bucket, "models/good/onnx/model.onnx"))
    ),
    "a file less": lambda s3, bucket: s3.delete(bucket, "models/good/onnx/model.onnx"),
    "another manifest": lambda s3, bucket: s3.put(bucket, "models/good/manifest.json", b"{}"),
    "no manifest": lambda s3, bucket: s3.delete(bucket, "models/good/manifest.json"),
}


def test_a_model_that_was_changed_is_not_judged(evaluate, s3, mlflow, bucket):
    kept = {key: s3.get(bucket, key) for key in s3.keys(bucket, "models/good/")}
    for attempt, change in enumerate(CHANGES.values(), start=1):
        for key, data in kept.items():
            s3.put(bucket, key, data)
        change(s3, bucket)
        if attempt % 2:
            launched = evaluate("good", attempt=attempt)
            reason, words = "EvaluatedModelChanged", "the model at s3://"
        else:
            launched = evaluate("bad", baseline="good", attempt=attempt)
            reason, words = "BaselineUnreadable", "the baseline, version 4 (champion)"
        assert launched.wait(60) != 0
        assert launched.record["reason"] == reason
        assert launched.record["message"].startswith(words)
        assert launched.record["hint"]
    assert not [run for run in mlflow.runs(evaluate.experiment) if metrics_of(run).get("accuracy")]


@pytest.mark.parametrize(
    ("wanted", "reason", "words", "field"),
    [
        ({"data": {"label": "truth"}}, "DataUnreadable", "no column 'truth'; it has x, label", "evaluate.data.label"),
        ({"data": {"output": "logits"}}, "EvaluationFailed", "no output 'logits'", "evaluate.data.output"),
        ({"format": "TensorFlow"}, "EvaluationFailed", "has no format TensorFlow; it has ONNX", "evaluate.format"),
    ],
)
def test_what_cannot_be_judged_is_a_failure_with_what_to_do(evaluate, wanted, reason, words, field):
    launched = evaluate(**wanted)
    assert launched.wait(60) == 2, launched.log
    assert (launched.record["reason"], launched.record["outcome"]) == (reason, "Failed")
    assert words in launched.record["message"]
    assert field in launched.record["hint"]
    assert "Traceback" not in launched.log


JUDGES = """
import os
from pathlib import Path
import headrace_client as headrace

model, baseline = (Path(os.environ[f"HEADRACE_{name}_DIR"]) for name in ("MODEL", "BASELINE"))
assert (model / "onnx" / "model.onnx").is_file() and (baseline / "manifest.json").is_file()
headrace.log({"cost": 12.5, "worse_by/cost": -1.0}, step=1)
"""


def test_a_program_of_the_users_judges_by_what_it_logs(evaluate, mlflow):
    launched = evaluate(task="Script", baseline="bad", script=JUDGES)
    assert launched.wait(60) == 0, launched.log
    assert launched.record["evaluation"]["digest"] == evaluate.models["good"]["digest"]
    assert metrics_of(run_of(mlflow, launched, evaluate))["cost"] == 12.5
    job = next(run for run in mlflow.runs(evaluate.experiment) if run["info"]["run_id"] == evaluate.parent)
    assert metrics_of(job)["evaluate/cost"] == 12.5


FAILS_FIRST = """
import os
import headrace_client as headrace

attempt = int(os.environ["ATTEMPT"])
headrace.log({f"part-{number:03}": number for number in range(400)}, step=1)
headrace.log({"cost": 0.5 if attempt == 1 else 12.5}, step=1)
raise SystemExit(1 if attempt == 1 else 0)
"""


def test_what_an_attempt_that_failed_has_logged_is_not_what_the_model_is_judged_by(evaluate, mlflow):
    """MLflow keeps the first value of a name and step."""
    assert evaluate(task="Script", script=FAILS_FIRST, env={"ATTEMPT": "1"}).wait(60) != 0
    gated = [{"metric": "cost", "slice": "", "confidence": 0.95}]
    launched = evaluate(task="Script", script=FAILS_FIRST, env={"ATTEMPT": "2"}, attempt=2, comparisons=gated)
    assert launched.wait(60) == 0, launched.log
    told = tags_of(run_of(mlflow, launched, evaluate))["headrace.model.metrics"]
    assert json.loads(told)["cost"] == 12.5
    assert len(told) <= 5000
