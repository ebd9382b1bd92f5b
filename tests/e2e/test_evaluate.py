"""`spec.evaluate`: the exported model is judged in a pod of its own, on rows that it has not seen, beside the version
that an alias points at.
"""

from __future__ import annotations

import random
from typing import Any

import pytest

from platform_under_test import Object, Tenant, condition

# A part of the labels is turned around in training: `noise` makes a worse model.
TRAIN = """
import argparse
import csv
import headrace_client as headrace
import numpy as np
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression

parser = argparse.ArgumentParser()
parser.add_argument("--noise", type=float, default=0.0)
noise = parser.parse_args().noise
with open("/data/points/train.csv") as file:
    rows = list(csv.DictReader(file))
X = np.array([[float(row["x"]), float(row["y"])] for row in rows], np.float32)
y = np.array([int(row["label"]) for row in rows])
turned = np.random.default_rng(0).random(len(y)) < noise
model = LogisticRegression().fit(X, np.where(turned & (y == 1), 0, y))
headrace.log({"accuracy": model.score(X, y)})
with open("points.onnx", "wb") as file:
    file.write(to_onnx(model, X[:1], options={"zipmap": False}).SerializeToString())
headrace.export("points.onnx", format="ONNX")
"""
ROWS = 600
PATIENCE = 600  # three trainings and three evaluations share the cores
SPEC: dict[str, Any] = {
    "framework": "Script",
    "storage": {"secretRef": {"name": "headrace-storage"}},
    "tracking": {"experiment": "points"},
    "output": {"model": "points", "formats": ["ONNX"], "alias": "champion"},
}
DATA: dict[str, Any] = {
    "dataset": "points",
    "path": "heldout.csv",
    "inputs": {"X": ["x", "y"]},
    "output": "probabilities",
}
EVALUATE: dict[str, Any] = {
    "task": "Classification",
    "data": DATA,
    "slices": ["region"],
    "sensitive": ["sex"],
    "baseline": {"alias": "champion"},
    "gates": [
        {"metric": "accuracy", "min": "0.6", "maxRegression": "0.02"},
        {"metric": "accuracy", "slice": "region=north", "min": "0.5"},
        {"metric": "demographic_parity_difference", "slice": "sex", "max": "0.5"},
    ],
    "card": {"intendedUse": "to tell two clouds of points apart", "licence": "Apache-2.0"},
}


def points(seed: int) -> str:
    """Two clouds that lie partly in one another, as a CSV file."""
    chance, lines = random.Random(seed), ["x,y,region,sex,label"]
    for number in range(ROWS):
        label = number % 2
        x, y = (chance.gauss(1.2 * label, 1.0) for _ in range(2))
        lines.append(f"{x:.5f},{y:.5f},{chance.choice(['north', 'south'])},{chance.choice('fm')},{label}")
    return "\n".join(lines) + "\n"


def start(tenant: Tenant, name: str, noise: float = 0.0, **evaluate: Any) -> None:
    tenant.train(
        name,
        **SPEC,
        source={"configMap": {"name": "points"}},
        parameters={"noise": noise},
        datasets=[{"name": "points", "uri": f"s3://{tenant.namespace}/points/"}],
        evaluate=EVALUATE | evaluate,
    )


def stage(status: Object, name: str = "Evaluate") -> Object:
    [found] = [one for one in status["stages"] if one["name"] == name]
    return found


def checks(status: Object) -> dict[tuple[str, str], Object]:
    found: list[Object] = status["model"]["gate"]["checks"]
    return {(check["metric"].removeprefix("evaluate/"), check["slice"]): check for check in found}


def tags_of(tenant: Tenant, run_id: str) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in tenant.mlflow(f"runs/get?run_id={run_id}")["run"]["data"]["tags"]}


@pytest.fixture(scope="module")
def first(tenant: Tenant) -> Object:
    for name, seed in (("train", 1), ("heldout", 2)):
        tenant.s3().put_object(Bucket=tenant.namespace, Key=f"points/{name}.csv", Body=points(seed).encode())
    tenant.script("points", TRAIN)
    start(tenant, "points-first", explain={"samples": 5})
    tenant.wait(
        "trainingjob", "points-first", lambda s: (s.get("columns") or {}).get("progress", "").startswith("eval")
    )
    return tenant.finished("points-first")


@pytest.fixture(scope="module")
def later(tenant: Tenant, first: Object) -> dict[str, Object]:
    """Three jobs at once: as good as the first one, worse, and on a column that is not there."""
    start(tenant, "points-equal")
    start(tenant, "points-worse", noise=0.9)
    start(tenant, "points-unreadable", data=DATA | {"label": "species"})
    return {name: tenant.finished(f"points-{name}", PATIENCE) for name in ("equal", "worse", "unreadable")}


def test_the_first_model_is_judged_by_its_absolute_bounds_and_registered(tenant: Tenant, first: Object):
    assert (first["state"], first["reason"], first["model"]["version"]) == ("Succeeded", "GatePassed", "1"), first
    assert (condition(first, "BaselineCompared")["status"], first["evaluation"]["samples"]) == ("False", ROWS)
    assert [one["state"] for one in first["stages"]] == ["Succeeded", "Succeeded"]
    found = checks(first)
    assert all(check["passed"] for check in found.values()), found
    assert found["accuracy", ""]["samples"] == ROWS
    assert 0 < found["accuracy", "region=north"]["samples"] < ROWS
    assert first["metrics"]["evaluate/accuracy"] == found["accuracy", ""]["value"]
    assert (first["columns"]["gate"], first["columns"]["model"]) == ("Passed", "points/1")


def test_the_judged_bytes_are_those_that_are_registered(tenant: Tenant, first: Object):
    tags = tags_of(tenant, stage(first)["run"]["id"])
    assert tags["headrace.evaluated.digest"] == first["model"]["digest"]
    assert tags["mlflow.parentRunId"] == first["run"]["id"]
    found = tenant.mlflow(f"model-versions/get?name={tenant.namespace}.points&version=1")["model_version"]
    kept = {tag["key"]: tag["value"] for tag in found["tags"]}
    assert kept["headrace.digest"] == first["model"]["digest"]
    assert kept["headrace.evaluation.run"] == stage(first)["run"]["id"]
    assert "to tell two clouds of points apart" in found["description"]


def test_the_report_is_kept_with_the_run(tenant: Tenant, first: Object):
    listed = tenant.mlflow(f"artifacts/list?run_id={stage(first)['run']['id']}&path=evaluation")["files"]
    names = {file["path"].rpartition("/")[2] for file in listed}
    assert {"evaluation.json", "slices.csv", "model_card.md", "model_card.html"} <= names, names
    assert {"explanations.json", "explanations.png", "importance.png"} <= names, names
    told = condition(first, "Explained")
    assert (told["status"], told["reason"]) == ("True", "Explained"), told
    assert "5 rows are explained" in told["message"]


def test_a_model_that_is_as_good_is_compared_and_registered(first: Object, later: dict[str, Object]):
    status = later["equal"]
    assert (status["state"], status["reason"], status["model"]["version"]) == ("Succeeded", "GatePassed", "2"), status
    assert condition(status, "BaselineCompared")["status"] == "True"
    assert status["evaluation"]["baseline"]["digest"] == first["model"]["digest"]
    check = checks(status)["accuracy", ""]
    assert check["baseline"] == check["value"] == checks(first)["accuracy", ""]["value"]
    assert float(check["low"]) <= 0 <= float(check["high"])


def test_a_model_that_is_worse_is_stopped_and_nothing_is_registered(tenant: Tenant, later: dict[str, Object]):
    status = later["worse"]
    assert (status["state"], status["reason"]) == ("Succeeded", "GateFailed"), status
    assert "version" not in status["model"]
    check = checks(status)["accuracy", ""]
    assert not check["passed"]
    assert float(check["worseBy"]) > 0.02
    assert "worse by at least" in status["message"]
    model = tenant.mlflow(f"registered-models/get?name={tenant.namespace}.points")["registered_model"]
    assert [alias["version"] for alias in model["aliases"]] == ["2"]


def test_a_column_that_is_not_there_is_told_before_anything_is_trained(later: dict[str, Object]):
    status = later["unreadable"]
    assert (status["state"], status["reason"]) == ("Failed", "DataUnreadable"), status
    assert "species" in status["failure"]["message"]
    assert "label" in status["failure"]["message"] + status["failure"]["hint"]
    assert "model" not in status
    assert (stage(status, "Train")["state"], stage(status, "Train")["attempts"]) == ("Failed", 1)
