"""`spec.prepare`: the script of the how-to page makes a dataset in a pod of its own, and the training finds it."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import pytest

from platform_under_test import REPOSITORY, Object, Tenant

PAGE = (REPOSITORY / "docs" / "how-to" / "prepare-data.md").read_text()
PREPARE = next(text for text in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "dataset_folder" in text)

TRAIN = """
import os
import headrace_client as headrace
with open("/data/cleaned/reviews.csv") as file:
    rows = file.read().splitlines()
try:
    open("/data/cleaned/other", "w")
except OSError:
    headrace.log({"rows": len(rows), "is_read_only": 1})
print(rows)
"""
REVIEWS = "A fine film indeed,5\nBad,1\nI fell asleep,2\n"
KEPT = 2  # of at least three words
SPEC = {
    "framework": "Script",
    "storage": {"secretRef": {"name": "headrace-storage"}},
    "tracking": {"experiment": "reviews"},
}


def start(tenant: Tenant, name: str, *, raw: str = "raw", script: str = PREPARE, **parameters: Any) -> None:
    """A TrainingJob with its own ConfigMap."""
    data = {"prepare.py": script, "train.py": TRAIN}
    tenant.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
    prepare = {
        "type": "Script",
        "entrypoint": "prepare.py",
        "parameters": {"least_words": 3} | parameters,
        "datasets": [{"name": "raw", "uri": f"s3://{tenant.namespace}/{raw}/"}],
        "output": {"name": "cleaned"},
    }
    tenant.train(name, **SPEC, prepare=prepare)


def upload(tenant: Tenant, folder: str, text: str) -> None:
    tenant.s3().put_object(Bucket=tenant.namespace, Key=f"{folder}/reviews.csv", Body=text.encode())


def prepared(status: Object) -> Object:
    [stage] = [stage for stage in status["stages"] if stage["name"] == "Prepare"]
    return stage


@pytest.fixture(scope="module")
def first(tenant: Tenant) -> Object:
    upload(tenant, "raw", REVIEWS)
    upload(tenant, "raw-2", REVIEWS.replace("fell", "felt"))
    start(tenant, "reviews")
    tenant.wait("trainingjob", "reviews", lambda s: (s.get("columns") or {}).get("progress", "").startswith("prepare"))
    return tenant.finished("reviews")


@pytest.fixture(scope="module")
def later(tenant: Tenant, first: Object) -> dict[str, Object]:
    """Four jobs at once: the same again, and one thing another in each of the others."""
    start(tenant, "reviews-same")
    start(tenant, "reviews-parameter", least_words=4)
    start(tenant, "reviews-byte", raw="raw-2")
    start(tenant, "reviews-line", script=f"# Another line.\n{PREPARE}")
    names = ("same", "parameter", "byte", "line")
    return {name: tenant.finished(f"reviews-{name}") for name in names}


def test_the_training_finds_what_the_preparation_has_left(tenant: Tenant, first: Object):
    assert (first["state"], first["stage"]) == ("Succeeded", "Train"), first
    assert [stage["state"] for stage in first["stages"]] == ["Succeeded", "Succeeded"]
    assert "reused" not in prepared(first)
    assert (float(first["metrics"]["rows"]), float(first["metrics"]["is_read_only"])) == (KEPT, 1)
    dataset = first["dataset"]
    assert (dataset["name"], dataset["files"]) == ("cleaned", 1)
    assert dataset["uri"].startswith(f"s3://{tenant.namespace}/headrace/datasets/cleaned/")
    assert [entry["stage"] for entry in first["history"]] == ["Prepare", "Train"]


def test_the_preparation_has_a_run_of_its_own_below_the_jobs(tenant: Tenant, first: Object):
    run = tenant.mlflow(f"runs/get?run_id={prepared(first)['run']['id']}")["run"]
    tags = {tag["key"]: tag["value"] for tag in run["data"]["tags"]}
    assert tags["mlflow.parentRunId"] == first["run"]["id"]
    assert run["info"]["status"] == "FINISHED"
    assert tenant.mlflow(f"runs/get?run_id={first['run']['id']}")["run"]["info"]["status"] == "FINISHED"


def test_the_same_preparation_is_not_done_twice(tenant: Tenant, first: Object, later: dict[str, Object]):
    status = later["same"]
    assert status["state"] == "Succeeded", status
    assert prepared(status)["reused"] is True
    assert status["dataset"] | {"reused": False} == first["dataset"] | {"reused": False}
    assert status["dataset"]["madeBy"] == f"{tenant.namespace}/reviews"
    assert float(status["metrics"]["rows"]) == KEPT


@pytest.mark.parametrize(("what", "rows"), [("parameter", 1), ("byte", 2), ("line", 2)])
def test_another_byte_parameter_or_line_of_code_does_it_anew(first: Object, later: dict[str, Object], what, rows):
    status = later[what]
    assert status["state"] == "Succeeded", status
    assert "reused" not in prepared(status)
    assert float(status["metrics"]["rows"]) == rows
    assert (status["dataset"]["digest"] == first["dataset"]["digest"]) is (what == "line")


def test_a_preparation_whose_pod_is_deleted_is_done_again(tenant: Tenant):
    upload(tenant, "raw-3", REVIEWS)
    start(tenant, "reviews-killed", raw="raw-3", script=f"import time\ntime.sleep(20)\n{PREPARE}")
    labels = "headrace.dev/trainingjob=reviews-killed"
    tenant.wait("trainingjob", "reviews-killed", _is_running)
    tenant.kubectl("delete", "pods", "-l", labels, "--wait=false", "--grace-period=1")

    status = tenant.finished("reviews-killed")

    assert status["state"] == "Succeeded", status
    assert prepared(status)["attempts"] == 2, status
    assert [(entry["stage"], entry["outcome"]) for entry in status["history"]] == [
        ("Prepare", "Interrupted"),
        ("Prepare", "Succeeded"),
        ("Train", "Succeeded"),
    ]
    took = datetime.fromisoformat(status["completionTime"]) - datetime.fromisoformat(status["startTime"])
    assert took.total_seconds() < 180


def _is_running(status: Object) -> bool:
    return status.get("state") == "Running" and (status.get("attempt") or {}).get("stage") == "Prepare"
