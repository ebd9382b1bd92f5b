"""`framework: Script`: what is no Keras becomes a model version by three lines, and is served with its own answers."""

from __future__ import annotations

import pytest

from platform_under_test import REPOSITORY, Tenant, candidate, first_answer, is_served, prediction_of

# Data-parallel training with torchrun's variables; each rank computes the same weight.
GANG = REPOSITORY / "runtimes" / "trainer" / "tests" / "launcher" / "gangs" / "sums.py"

# A random forest on the irises, as a scikit-learn tutorial has it; the lines with `headrace` are what was added.
FOREST = """
import json
import headrace_client as headrace
import numpy as np
from skl2onnx import to_onnx
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split

X, y = load_iris(return_X_y=True)
X = X.astype(np.float32)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
forest = RandomForestClassifier(n_estimators=20, random_state=0).fit(X_train, y_train)
headrace.log({"accuracy": forest.score(X_test, y_test)})

model = to_onnx(forest, X[:1], options={"zipmap": False})
with open("forest.onnx", "wb") as file:
    file.write(model.SerializeToString())
headrace.export("forest.onnx", format="ONNX")
print("PREDICTION", json.dumps(forest.predict_proba(X[:2]).ravel().tolist()))
"""
# Grows trees by and by, keeps what it has, and goes on from there.
GROWING = """
import pickle, time
import headrace_client as headrace
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier

X, y = load_iris(return_X_y=True)
forest = RandomForestClassifier(n_estimators=0, warm_start=True, random_state=0)
if folder := headrace.last_checkpoint():
    forest = pickle.loads((folder / "forest.pickle").read_bytes())
print("begins with", forest.n_estimators, "trees", flush=True)
while forest.n_estimators < 60 and not headrace.should_stop():
    forest.set_params(n_estimators=forest.n_estimators + 1).fit(X, y)
    headrace.log({"accuracy": forest.score(X, y)}, step=forest.n_estimators)
    headrace.progress(step=forest.n_estimators, steps=60)
    time.sleep(0.3)
if headrace.should_stop():
    with headrace.checkpoint(step=forest.n_estimators) as folder:
        (folder / "forest.pickle").write_bytes(pickle.dumps(forest))
"""
TRACKED = {
    "framework": "Script",
    "storage": {"secretRef": {"name": "headrace-storage"}},
    "tracking": {"experiment": "any-program"},
}
# The first two irises.
REQUEST = {
    "inputs": [
        {"name": "X", "shape": [2, 4], "datatype": "FP32", "data": [5.1, 3.5, 1.4, 0.2, 4.9, 3.0, 1.4, 0.2]},
    ]
}


def test_a_scikit_learn_model_passes_its_gate_and_answers_as_it_does_itself(tenant: Tenant):
    tenant.script("forest", FOREST)
    tenant.train(
        "forest",
        **TRACKED,
        evaluation={"gates": [{"metric": "accuracy", "min": "0.9"}]},
        output={"model": "forest", "formats": ["ONNX"], "alias": "candidate"},
    )
    status = tenant.finished("forest")
    assert (status["state"], status["reason"]) == ("Succeeded", "GatePassed"), status
    tenant.serve("forest", candidate("forest"))
    tenant.wait("modelservice", "forest", is_served, 120)

    answer = first_answer(f"{tenant.platform.gateway}/{tenant.namespace}/forest/v2/models/forest/infer", REQUEST)

    outputs = {output["name"]: output["data"] for output in answer["outputs"]}
    assert outputs["probabilities"] == pytest.approx(prediction_of(tenant, "forest"), abs=1e-6)


def test_a_script_whose_pod_is_deleted_goes_on_from_its_own_checkpoint(tenant: Tenant):
    tenant.script("growing", GROWING)
    tenant.train("growing", **TRACKED)
    tenant.wait("trainingjob", "growing", lambda s: (s.get("progress") or {}).get("step", 0) >= 10)
    tenant.kubectl("delete", "pods", "-l", "headrace.dev/trainingjob=growing", "--wait=false")

    status = tenant.finished("growing")

    assert status["state"] == "Succeeded", status
    assert status["attempt"]["number"] == 2, status
    pod = tenant.kubectl("get", "pods", "-l", "headrace.dev/trainingjob=growing", "-o", "name").split()[-1]
    begun = int(tenant.kubectl("logs", pod).split("begins with ")[1].split()[0])
    assert begun >= 10
    values = tenant.mlflow(f"metrics/get-history?run_id={status['run']['id']}&metric_key=accuracy&max_results=1000")
    assert sorted(entry["step"] for entry in values["metrics"]) == list(range(1, 61))


def test_of_a_gang_of_programs_one_is_killed_and_both_go_on_together(tenant: Tenant):
    steps = 300
    tenant.script("gang", GANG.read_text())
    tenant.train("gang", **TRACKED, strategy={"type": "MultiWorker", "workers": 2}, parameters={"steps": steps})
    tenant.wait("trainingjob", "gang", lambda status: bool(status.get("checkpoint")))
    labels = "headrace.dev/trainingjob=gang,batch.kubernetes.io/job-completion-index=1"
    tenant.kubectl("delete", "pods", "-l", labels, "--wait=false", "--force", "--grace-period=0")

    status = tenant.finished("gang")

    assert status["state"] == "Succeeded", status
    assert status["attempt"]["number"] == 2, status
    weight = 0.0
    for step in range(1, steps + 1):
        weight += 0.1 * (1 + 2) * (1.0 - weight) / step
    run = tenant.mlflow(f"runs/get?run_id={status['run']['id']}")["run"]
    last = {metric["key"]: metric["value"] for metric in run["data"]["metrics"]}
    assert last["weight"] == pytest.approx(weight, abs=1e-12)
