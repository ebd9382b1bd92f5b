"""`spec.tuning`: trials run two at a time in pods of their own, and the best one's model is the version."""

from __future__ import annotations

from platform_under_test import Tenant

# A ridge regression by hand; the best of these penalties is known beforehand.
SCRIPT = """
import argparse
import headrace_client as headrace
import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

parser = argparse.ArgumentParser()
parser.add_argument("--penalty", type=float, default=1.0)
parser.add_argument("--scale", default="one")
given = parser.parse_args()
weights = np.full((2, 1), 1 / (1 + given.penalty), dtype=np.float32)
headrace.log({"error": abs(given.penalty - 2) + (given.scale == "two")})
nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [None, s]) for n, s in (("x", 2), ("y", 1)))
graph = helper.make_graph(nodes, "g", [x], [y], [numpy_helper.from_array(weights, "w")])
save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), "ridge.onnx")
headrace.export("ridge.onnx", format="ONNX")
"""
TUNING = {
    "objective": {"metric": "error", "goal": "Minimize"},
    "space": [
        {"name": "penalty", "type": "Int", "min": "1", "max": "2"},
        {"name": "scale", "type": "Categorical", "values": ["two", "one"]},
    ],
    "sampler": "Grid",
    "maxTrials": 4,
    "parallel": 2,
    "keep": 3,
}


def test_the_best_of_four_trials_is_the_version_and_their_runs_are_below_the_jobs(tenant: Tenant):
    tenant.script("ridge", SCRIPT)
    tenant.train(
        "ridge",
        framework="Script",
        storage={"secretRef": {"name": "headrace-storage"}},
        tracking={"experiment": "tuning"},
        output={"model": "ridge", "formats": ["ONNX"], "alias": "candidate"},
        tuning=TUNING,
    )

    status = tenant.finished("ridge")

    assert (status["state"], status["reason"]) == ("Succeeded", "Registered"), status
    best = status["tuning"]["best"]
    assert status["tuning"]["trials"] == {"total": 4, "running": 0, "succeeded": 4, "failed": 0}
    assert (best["name"], best["value"], best["parameters"]) == ("ridge-t3", "0", {"penalty": "2", "scale": "one"})
    run = tenant.mlflow(f"runs/get?run_id={status['run']['id']}")["run"]
    tags = {tag["key"]: tag["value"] for tag in run["data"]["tags"]}
    assert (tags["headrace.trial.best"], run["info"]["status"]) == ("3", "FINISHED")
    found = tenant.kubectl("get", "trainingjobs", "-l", "headrace.dev/trial-of=ridge", "-o", "jsonpath={..run.id}")
    below = [tenant.mlflow(f"runs/get?run_id={one}")["run"]["data"]["tags"] for one in found.split()]
    parents = [tag["value"] for tags in below for tag in tags if tag["key"] == "mlflow.parentRunId"]
    assert parents == [status["run"]["id"]] * 4
    removed = [{tag["key"] for tag in tags} & {"headrace.model.removed"} for tags in below]
    assert sum(map(len, removed)) == 1  # three are kept
