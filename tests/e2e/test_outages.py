"""MLflow and the S3 store away, one after the other: what was under way goes on, what waits says for what, nothing is
counted, lost or logged twice.

Each outage happens once, in a fixture that only watches; the tests judge what it saw.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from platform_under_test import SYSTEM, Object, Platform, Tenant, ask, candidate, condition, is_served

# Pauses after each batch, so that it trains for longer than an outage lasts.
SCRIPT = """
import sys, time, numpy as np, keras
values = dict(argument.lstrip("-").split("=") for argument in sys.argv[1:])
x = np.random.RandomState(0).rand(80, 4).astype("float32")
y = x.sum(1, keepdims=True)
model = keras.Sequential([keras.Input((4,), name="x"), keras.layers.Dense(1, name="y")])
model.compile("adam", "mse")
slow = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: time.sleep(float(values["pause"])))
model.fit(
    x, y, batch_size=8, epochs=int(values["epochs"]), validation_data=(x, y), callbacks=[slow], verbose=2
)
"""
EPOCHS = 20
# So late is told what a pod cannot send or fetch: it sends every 2 s, then every 5; a connection is tried for 3 s; and
# the operator asks the pod every 5 s.
TOLD = 15
REQUEST = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 1, 1, 1]}]}
STORAGE = {"secretRef": {"name": "headrace-storage"}}
TRACKED = {"source": {"configMap": {"name": "out"}}, "storage": STORAGE, "tracking": {"experiment": "outages"}}
UNTRACKED = {
    "source": {"configMap": {"name": "out"}},
    "storage": STORAGE,
    "parameters": {"epochs": 1, "pause": 0},
    "restartPolicy": {"maxRestarts": 0},  # only what is not counted is tried again
}
IMPATIENT = {"spec": {"containers": [{"name": "trainer", "env": [{"name": "HEADRACE_OUTAGE_SECONDS", "value": "3"}]}]}}


@contextmanager
def away(platform: Platform, server: str) -> Iterator[None]:
    """One of the platform's servers has no pod; afterwards it has one that is ready, whatever happened."""

    def kubectl(*arguments: str) -> None:
        platform.cluster.kubectl("--namespace", SYSTEM, *arguments)

    try:
        kubectl("scale", f"deployment/headrace-{server}", "--replicas=0")
        kubectl("wait", "--for=delete", "pod", "-l", f"app.kubernetes.io/component={server}", "--timeout=60s")
        yield
    finally:
        kubectl("scale", f"deployment/headrace-{server}", "--replicas=1")
        kubectl("rollout", "status", f"deployment/headrace-{server}", "--timeout=180s")


@contextmanager
def asking(url: str) -> Iterator[Counter[str]]:
    """Ask a service five times a second, and count its answers by status."""
    answers: Counter[str] = Counter()
    stop = threading.Event()

    def go_on() -> None:
        while not stop.wait(0.2):
            try:
                answers[str(ask(f"{url}/infer", REQUEST)[0])] += 1
            except OSError as error:
                answers[type(error).__name__] += 1

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield answers
    finally:
        stop.set()
        thread.join()


def says_where_mlflow_is(status: Object) -> bool:
    """Not only that its answer is waited for, which a service says at first."""
    return bool(status.get("conditions")) and "MLflow at http" in condition(status, "ModelResolved")["message"]


def epoch(status: Object) -> int:
    return int(status.get("progress", {}).get("epoch", 0))


def steps_of(tenant: Tenant, run: str, key: str) -> list[int]:
    """The step of every value that the run has of a metric."""
    found = tenant.mlflow(f"metrics/get-history?run_id={run}&metric_key={key}&max_results=25000")["metrics"]
    return sorted(int(metric.get("step", 0)) for metric in found)


def until_its_pod(tenant: Tenant, job: str, phase: str) -> None:
    """The cluster shows it: from here on the time runs in which the status is to say it."""
    deadline = time.monotonic() + 90
    while True:
        pods = json.loads(
            tenant.kubectl(
                "get", "pods", "-l", f"headrace.dev/trainingjob={job},headrace.dev/attempt=1", "--output=json"
            )
        )["items"]
        if any(pod["status"]["phase"] == phase for pod in pods):
            return
        assert time.monotonic() < deadline, f"no pod of {job} is {phase}"
        time.sleep(0.5)


@pytest.fixture(scope="module")
def service(tenant: Tenant) -> Iterator[str]:
    """A service on a version that a TrainingJob registered; its URL."""
    tenant.script("out", SCRIPT)
    output = {"model": "out", "alias": "candidate"}
    tenant.train("out-first", **TRACKED, parameters={"epochs": 1, "pause": 0}, output=output)
    assert tenant.finished("out-first")["state"] == "Succeeded"
    tenant.serve("out-serving", candidate("out"))
    tenant.wait("modelservice", "out-serving", is_served, 90)
    yield f"{tenant.platform.gateway}/{tenant.namespace}/out-serving/v2/models/out-serving"
    tenant.kubectl("delete", "modelservices", "out-serving", "out-late", "--ignore-not-found", "--wait=false")


# --- MLflow ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Seen:
    """Statuses by what they show, and the answers that a serving pod gave meanwhile."""

    statuses: dict[str, Object]
    answers: Counter[str]


@pytest.fixture(scope="module")
def mlflow_away(tenant: Tenant, service: str) -> Seen:
    """MLflow goes while a job trains; a service that needs it is created; it comes back."""
    seen: dict[str, Object] = {}
    output = {"model": "out-trained", "alias": "candidate"}
    tenant.train("out-trains", **TRACKED, parameters={"epochs": EPOCHS, "pause": 0.2}, output=output)
    tenant.wait("trainingjob", "out-trains", lambda s: epoch(s) >= 2 and bool(s["run"]["id"]), 120)
    with asking(service) as answers:
        with away(tenant.platform, "mlflow"):
            seen["job"] = tenant.look("trainingjob", "out-trains", lambda s: s["reason"] == "TrackingUnavailable", TOLD)
            tenant.serve("out-late", candidate("out"))
            seen["late"] = tenant.look("modelservice", "out-late", says_where_mlflow_is, 10)
            later = epoch(seen["job"]) + 2
            seen["job later"] = tenant.look("trainingjob", "out-trains", lambda s: epoch(s) >= later, 30)
            seen["serving"] = tenant.look("modelservice", "out-serving", lambda s: s["reason"] != "Serving", 20)
        seen["late, served"] = tenant.look("modelservice", "out-late", is_served, 90)
    seen["job, ended"] = tenant.finished("out-trains")
    return Seen(seen, answers)


def test_a_job_goes_on_training_without_mlflow_and_says_so(mlflow_away):
    before, later = mlflow_away.statuses["job"], mlflow_away.statuses["job later"]

    assert (before["state"], before["reason"]) == ("Running", "TrackingUnavailable"), before
    assert "MLflow does not answer" in condition(before, "Progressing")["message"]
    assert epoch(later) >= epoch(before) + 2
    assert later["attempt"]["number"] == 1


def test_when_mlflow_is_back_the_run_has_every_epoch_exactly_once_and_the_version_is_registered(tenant, mlflow_away):
    status = mlflow_away.statuses["job, ended"]

    assert (status["state"], status["attempt"]["number"]) == ("Succeeded", 1), status
    run = status["run"]["id"]
    for key in ("epoch/loss", "val_loss"):
        assert steps_of(tenant, run, key) == list(range(1, EPOCHS + 1)), key
    sampled = steps_of(tenant, run, "loss")
    assert len(sampled) == len(set(sampled)) > EPOCHS
    assert tenant.mlflow(f"runs/get?run_id={run}")["run"]["info"]["status"] == "FINISHED"
    name, version = status["model"]["name"], status["model"]["version"]
    registered = tenant.mlflow(f"model-versions/get?name={name}&version={version}")["model_version"]
    assert {"key": "headrace.digest", "value": status["model"]["digest"]} in registered["tags"]


def test_a_service_created_without_mlflow_says_why_within_10_s_and_serves_once_it_is_back(mlflow_away):
    status = mlflow_away.statuses["late"]

    assert (status["phase"], status["reason"]) == ("Pending", "TrackingUnavailable"), status
    said = condition(status, "ModelResolved")
    assert (said["status"], said["reason"]) == ("False", "TrackingUnavailable")
    assert "MLflow at http" in said["message"]
    assert is_served(mlflow_away.statuses["late, served"]), mlflow_away.statuses["late, served"]


def test_a_service_that_serves_goes_on_answering_without_mlflow_and_says_what_it_cannot_ask(mlflow_away):
    status = mlflow_away.statuses["serving"]

    assert set(mlflow_away.answers) == {"200"}, mlflow_away.answers
    assert mlflow_away.answers["200"] >= 20
    assert (status["phase"], status["reason"]) == ("Stable", "TrackingUnavailable"), status
    assert condition(status, "Ready")["status"] == "True"


# --- the S3 store ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def s3_away(tenant: Tenant, service: str) -> Seen:
    """The store goes; two jobs start, of which one waits for it, and the other, told to be impatient, fails."""
    seen: dict[str, Object] = {}
    tenant.s3().put_object(Bucket=tenant.namespace, Key="outages/corpus.txt", Body=b"some text")
    datasets = [{"name": "corpus", "uri": f"s3://{tenant.namespace}/outages/corpus.txt"}]
    with asking(service) as answers:
        with away(tenant.platform, "s3"):
            tenant.train("out-waits", **UNTRACKED, datasets=datasets)
            tenant.train("out-fails", **UNTRACKED, datasets=datasets, podTemplate=IMPATIENT)
            until_its_pod(tenant, "out-waits", "Running")
            seen["waits"] = tenant.look("trainingjob", "out-waits", lambda s: s["reason"] == "StorageUnavailable", TOLD)
            until_its_pod(tenant, "out-fails", "Failed")
            seen["fails"] = tenant.look("trainingjob", "out-fails", lambda s: "failure" in s, 10)
        seen["waited"] = tenant.finished("out-waits")
        seen["failed"] = tenant.finished("out-fails")
    return Seen(seen, answers)


def test_a_job_that_starts_without_s3_waits_and_says_for_what(s3_away):
    status, ended = s3_away.statuses["waits"], s3_away.statuses["waited"]

    assert (status["state"], status["reason"]) == ("Running", "StorageUnavailable"), status
    assert "S3 does not answer" in status["message"], status
    assert (ended["state"], ended["attempt"]["number"]) == ("Succeeded", 1), ended


def test_a_job_that_s3_is_away_for_too_long_for_fails_with_class_storage_uncounted_and_is_tried_again(s3_away):
    status, ended = s3_away.statuses["fails"], s3_away.statuses["failed"]

    failure = status["failure"]
    assert (failure["class"], failure["reason"]) == ("Storage", "StorageUnavailable"), failure
    assert failure["retryable"] is True
    assert "did not answer in time" in failure["message"]
    assert "Look at the S3 store" in failure["hint"]
    assert (status["state"], status["reason"]) == ("Restarting", "StorageUnavailable"), status
    assert ended["state"] == "Succeeded", ended
    assert ended["attempt"]["number"] >= 2
    assert ended.get("attemptsCounted", 0) == 0
    assert [attempt.get("counted", False) for attempt in ended["history"]] == [False] * ended["attempt"]["number"]


def test_a_service_that_serves_goes_on_answering_without_s3(tenant, s3_away):
    assert set(s3_away.answers) == {"200"}, s3_away.answers
    assert s3_away.answers["200"] >= 20
    assert condition(tenant.status("modelservice", "out-serving"), "Ready")["status"] == "True"
