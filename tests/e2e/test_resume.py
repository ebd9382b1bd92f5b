"""Interrupted training in real pods: what resumes ends like what was never interrupted."""

from __future__ import annotations

import pytest

from platform_under_test import Object, Tenant

# A plain script; its own callback makes it last long enough to be interrupted.
SCRIPT = """
import time, numpy as np, keras
keras.utils.set_random_seed(7)
x = np.random.RandomState(0).rand(1280, 8).astype("float32")
y = x.sum(1, keepdims=True)
model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(16, activation="relu"), keras.layers.Dense(1)])
model.compile("adam", "mse")
slow = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: time.sleep(0.15))
model.fit(x, y, batch_size=32, epochs=5, callbacks=[slow], verbose=2)
"""
TRAINING = {
    "source": {"configMap": {"name": "resume"}},
    "storage": {"secretRef": {"name": "headrace-storage"}},
    "tracking": {"experiment": "resume"},
    "checkpoint": {"interval": "10s"},
    "parameters": {"seed": 7},
}
PAIR = {"strategy": {"type": "MultiWorkerMirrored", "workers": 2}}


def has_checkpoint(status: Object) -> bool:
    return status.get("state") == "Running" and status.get("checkpoint", {}).get("step", 0) > 0


def pod(tenant: Tenant, job: str, index: int) -> str:
    labels = f"headrace.dev/trainingjob={job},batch.kubernetes.io/job-completion-index={index}"
    return tenant.kubectl("get", "pods", "-l", labels, "-o", "name").split()[0]


@pytest.fixture(scope="module")
def trained(tenant: Tenant) -> dict[str, Object]:
    """Three jobs of one script, at the same time: left alone; its pod deleted; of two workers one deleted by force."""
    tenant.script("resume", SCRIPT)
    tenant.train("interrupted", **TRAINING)
    tenant.train("two-workers", **TRAINING, **PAIR)
    tenant.train("undisturbed", **TRAINING)
    tenant.wait("trainingjob", "interrupted", has_checkpoint)
    tenant.kubectl("delete", pod(tenant, "interrupted", 0), "--wait=false")
    tenant.wait("trainingjob", "two-workers", has_checkpoint)
    tenant.kubectl("delete", pod(tenant, "two-workers", 1), "--wait=false", "--force", "--grace-period=0")
    return {name: tenant.finished(name, 400) for name in ("undisturbed", "interrupted", "two-workers")}


def test_an_interrupted_job_resumes_exactly_and_counts_nothing(trained):
    status = trained["interrupted"]

    assert status["state"] == "Succeeded", status
    assert (status["attempt"]["number"], status.get("attemptsCounted", 0)) == (2, 0)
    assert status["resume"]["attempt"] == 1
    assert status["resume"]["step"] > 0
    assert status["resume"]["exact"] is True, status["resume"]


def test_it_ends_with_the_loss_of_one_that_was_never_interrupted(trained):
    losses = [float(trained[name]["metrics"]["loss"]) for name in ("undisturbed", "interrupted")]

    assert losses[1] == pytest.approx(losses[0], abs=1e-6)
    assert trained["interrupted"]["progress"]["step"] == trained["undisturbed"]["progress"]["step"] == 200


@pytest.mark.parametrize("key", ["loss", "epoch/loss"])
def test_its_run_has_every_value_of_one_that_was_never_interrupted_once(tenant, trained, key):
    histories = []
    for name in ("undisturbed", "interrupted"):
        query = f"run_id={trained[name]['run']['id']}&metric_key={key}&max_results=25000"
        found = tenant.mlflow(f"metrics/get-history?{query}")["metrics"]
        histories.append(sorted((int(metric.get("step", 0)), metric["value"]) for metric in found))

    undisturbed, interrupted = histories
    assert [step for step, _ in interrupted] == [step for step, _ in undisturbed]
    assert [value for _, value in interrupted] == pytest.approx([value for _, value in undisturbed], rel=1e-6)


def test_of_two_workers_one_killed_stops_the_other_and_both_resume_as_one_model(trained):
    status = trained["two-workers"]

    assert status["state"] == "Succeeded", status
    assert status["attempt"]["number"] == 2, status["history"]
    assert status["resume"]["step"] > 0
    assert float(status["metrics"]["loss"]) == pytest.approx(float(trained["undisturbed"]["metrics"]["loss"]), abs=1e-4)
