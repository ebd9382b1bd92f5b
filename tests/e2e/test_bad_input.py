"""What users get wrong, and what they take away in the midst of it: each is told in the cluster within 10 s of the
cluster showing it, and hurts nothing else.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

import pytest

from headrace_local.errors import LocalClusterError
from platform_under_test import (
    SYSTEM,
    Object,
    Tenant,
    ask,
    candidate,
    condition,
    first_answer,
    is_served,
    model_service,
)
from published import adds, publish

REQUEST = {"inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP32", "data": [1.0]}]}
OWNED_KINDS = (
    "jobs,pods,services,configmaps,deployments,replicasets,poddisruptionbudgets,networkpolicies,controllerrevisions,"
    "httproutes"
)
# Pauses after each batch, so that it can be deleted while it trains.
SCRIPT = """
import sys, time, numpy as np, keras
(pause,) = [float(argument.partition("=")[2]) for argument in sys.argv[1:]]
x = np.random.RandomState(0).rand(64, 4).astype("float32")
model = keras.Sequential([keras.Input((4,), name="x"), keras.layers.Dense(1, name="y")])
model.compile("adam", "mse")
slow = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: time.sleep(pause))
model.fit(x, x.sum(1, keepdims=True), batch_size=8, epochs=4, callbacks=[slow], verbose=2)
"""


def has(kind: str, value: str, reason: str) -> Callable[[Object], bool]:
    def holds(status: Object) -> bool:
        said = condition(status, kind)
        return (said.get("status"), said.get("reason")) == (value, reason)

    return holds


def url_of(tenant: Tenant, path: str, name: str) -> str:
    """Where the gateway takes requests of the service at this path."""
    return f"{tenant.platform.gateway}{path}/v2/models/{name}/infer"


def answer(tenant: Tenant, path: str, name: str) -> tuple[int, float | None]:
    """The gateway's answer for x = 1: status and y."""
    status, said = ask(url_of(tenant, path, name), REQUEST)
    return status, float(said["outputs"][0]["data"][0]) if status == 200 else None


def until_it_answers(tenant: Tenant, path: str, name: str) -> tuple[int, float | None]:
    """Its first good answer."""
    said = first_answer(url_of(tenant, path, name), REQUEST)
    return 200, float(said["outputs"][0]["data"][0])


def left_of(tenant: Tenant, uid: str) -> list[str]:
    """What there still is of an owner, by its labels and owner references, with what holds it."""
    objects = json.loads(tenant.kubectl("get", OWNED_KINDS, "--output=json"))["items"]
    return [
        f"{found['kind']}/{found['metadata']['name']} {found['metadata'].get('finalizers', '')}"
        for found in objects
        if uid in json.dumps(found["metadata"])
    ]


def until_all_is_gone(tenant: Tenant, uid: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while left := left_of(tenant, uid):
        assert time.monotonic() < deadline, f"after {seconds:.0f} s there still are {', '.join(left)}"
        time.sleep(1)


def until_a_server_has_ended(tenant: Tenant, service: str) -> None:
    """The cluster shows it: from here on the status has 10 s."""
    deadline = time.monotonic() + 90
    while True:
        pods = json.loads(tenant.kubectl("get", "pods", "-l", f"headrace.dev/modelservice={service}", "--output=json"))
        states = [
            container.get(moment, {})
            for pod in pods["items"]
            for container in pod["status"].get("containerStatuses", ())
            for moment in ("state", "lastState")
        ]
        if any(state.get("terminated", {}).get("exitCode") for state in states):
            return
        assert time.monotonic() < deadline, f"no server of {service} has ended: {states}"
        time.sleep(0.5)


@pytest.fixture(scope="module", autouse=True)
def _services_end_with_their_tests(tenant: Tenant) -> Iterator[None]:
    yield
    names = [f"bad-{name}" for name in ("model", "alias", "garbage", "first", "second", "canary")]
    tenant.kubectl("delete", "modelservices", *names, "--ignore-not-found", "--wait=false")


# --- a model that is not there, or is not one ------------------------------------------------------------------------


def make_model_without_versions(tenant: Tenant, name: str) -> None:
    administrator = Tenant(tenant.platform, SYSTEM).secret("headrace-mlflow")
    status, said = ask(
        f"{tenant.platform.mlflow}/api/2.0/mlflow/registered-models/create",
        {"name": f"{tenant.namespace}.{name}"},
        login=f"{administrator['username']}:{administrator['password']}",
    )
    assert status == 200, said


def test_a_model_that_nobody_registered_is_told_within_10_s(tenant):
    tenant.serve("bad-model", candidate("bad-nowhere"))

    status = tenant.wait("modelservice", "bad-model", lambda s: s.get("reason") == "AliasNotFound", 10)

    assert status["phase"] == "Pending"
    assert f"{tenant.namespace}.bad-nowhere" in status["message"]


def test_an_alias_that_the_model_does_not_have_is_told_within_10_s_with_what_sets_it(tenant):
    make_model_without_versions(tenant, "bad-empty")
    tenant.serve("bad-alias", {"registry": {"name": "bad-empty", "alias": "candidat"}})

    status = tenant.wait("modelservice", "bad-alias", lambda s: s.get("reason") == "AliasNotFound", 10)

    assert status["phase"] == "Pending"
    for kind in ("ModelResolved", "Ready"):
        said = condition(status, kind)
        assert (said["status"], said["reason"]) == ("False", "AliasNotFound")
        assert "'candidat'" in said["message"]
        assert "a TrainingJob with output.alias sets it" in said["message"]


def test_a_corrupt_model_with_a_true_manifest_is_told_within_10_s_and_never_gets_a_request(tenant):
    uri = publish(tenant, "garbage", b"this is no model" * 100)
    tenant.serve("bad-garbage", {"uri": uri})
    until_a_server_has_ended(tenant, "bad-garbage")

    status = tenant.wait("modelservice", "bad-garbage", lambda s: s.get("reason") == "ModelCorrupt", 10)

    assert status["phase"] == "Failed"
    failure = status["failure"]
    assert (failure["class"], failure["reason"], failure["exitCode"]) == ("Data", "ModelCorrupt", 2)
    assert "onnx/model.onnx cannot be loaded" in failure["message"]
    assert "Export the model again" in failure["hint"]
    assert failure["hint"] in status["message"]
    assert (condition(status, "Ready")["status"], condition(status, "Ready")["reason"]) == ("False", "ModelCorrupt")
    assert tenant.kubectl("get", "httproutes", "bad-garbage", "--ignore-not-found") == ""


# --- two that want the same ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def conflict(tenant: Tenant) -> tuple[str, Object]:
    """The path that two services ask for, and the status of the one that came second."""
    path = f"/{tenant.namespace}/bad-shared"
    route = {"route": {"parentRefs": [{"name": "headrace", "namespace": SYSTEM}], "path": path}}
    uri = publish(tenant, "shared", adds(1.0))
    tenant.serve("bad-first", {"uri": uri}, **route)
    tenant.wait("modelservice", "bad-first", is_served, 90)
    until_it_answers(tenant, path, "bad-first")
    tenant.serve("bad-second", {"uri": uri}, **route)
    tenant.wait("modelservice", "bad-second", has("RouteAccepted", "False", "RouteConflict"), 10)
    return path, tenant.wait("modelservice", "bad-second", lambda s: s.get("phase") == "Stable", 90)


def test_of_two_services_with_one_path_the_second_says_whose_it_is_and_what_to_choose(tenant, conflict):
    said = condition(conflict[1], "RouteAccepted")

    assert (said["status"], said["reason"]) == ("False", "RouteConflict")
    assert f"{tenant.namespace}/bad-first" in said["message"]
    assert "choose another spec.route.path" in said["message"]


def test_the_first_of_them_goes_on_answering(tenant, conflict):
    path, _ = conflict

    assert [answer(tenant, path, "bad-first") for _ in range(20)] == [(200, 2.0)] * 20


def test_the_second_of_them_is_not_called_ready_and_that_has_the_same_reason(conflict):
    _, status = conflict
    ready, route = condition(status, "Ready"), condition(status, "RouteAccepted")

    assert (ready["status"], ready["reason"], ready["message"]) == ("False", "RouteConflict", route["message"])
    assert status["columns"]["ready"] == "False"


# --- what the API server refuses -------------------------------------------------------------------------------------

STEPS = [{"weight": 50, "hold": "10s"}, {"weight": 20, "hold": "10s"}]
URI: Object = {"uri": "s3://bad-input/refused"}
REFUSED: dict[str, tuple[Object, str]] = {
    "weights-out-of-order": (
        model_service("bad-refused", URI, rollout={"steps": STEPS}),
        "the weights of the steps have to rise",
    ),
    "unknown-field": (
        model_service("bad-refused", URI, rollout={"stepz": []}),
        'unknown field "spec.rollout.stepz"',
    ),
    "unknown-field-of-a-job": (
        {
            "apiVersion": "headrace.dev/v1alpha1",
            "kind": "TrainingJob",
            "metadata": {"name": "bad-refused"},
            "spec": {"source": {"configMap": {"name": "bad"}}, "entrypoint": "train.py", "epochs": 3},
        },
        'unknown field "spec.epochs"',
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_spec_that_cannot_be_meant_is_refused_at_kubectl_apply_with_its_field(tenant, name):
    refused, why = REFUSED[name]

    with pytest.raises(LocalClusterError) as error:
        tenant.kubectl("apply", "--validate=strict", "-f", "-", stdin=json.dumps(refused))

    assert why in str(error.value)
    assert tenant.kubectl("get", refused["kind"], "bad-refused", "--ignore-not-found") == ""


# --- taken away in the midst of it, and made again -------------------------------------------------------------------


def test_a_job_deleted_while_it_trains_leaves_nothing_and_its_name_trains_anew_with_a_run_of_its_own(tenant):
    training = {
        "source": {"configMap": {"name": "bad-deleted"}},
        "storage": {"secretRef": {"name": "headrace-storage"}},
        "tracking": {"experiment": "bad-input"},
    }
    tenant.script("bad-deleted", SCRIPT)
    tenant.train("bad-deleted", **training, parameters={"pause": 2.0})
    first = tenant.wait("trainingjob", "bad-deleted", lambda s: s.get("progress", {}).get("step", 0) > 1, 120)
    uid = tenant.get("trainingjob", "bad-deleted")["metadata"]["uid"]

    tenant.kubectl("delete", "trainingjob", "bad-deleted", "--timeout=20s")
    tenant.train("bad-deleted", **training, parameters={"pause": 0.0})  # while pods of the first are still going

    until_all_is_gone(tenant, uid, 60)
    second = tenant.finished("bad-deleted", 120)
    assert (second["state"], second["attempt"]["number"]) == ("Succeeded", 1), second
    assert first["run"]["id"] != second["run"]["id"]
    run = tenant.mlflow(f"runs/get?run_id={second['run']['id']}")["run"]
    tags = {tag["key"]: tag["value"] for tag in run["data"]["tags"]}
    assert tags["headrace.uid"] == tenant.get("trainingjob", "bad-deleted")["metadata"]["uid"]
    assert run["info"]["status"] == "FINISHED"


def test_a_service_deleted_in_mid_canary_leaves_nothing_and_its_name_serves_anew(tenant):
    one, two = publish(tenant, "one", adds(1.0)), publish(tenant, "two", adds(2.0))
    steps = {"rollout": {"steps": [{"weight": 50, "hold": "10m"}]}}
    tenant.serve("bad-canary", {"uri": one}, **steps)
    tenant.wait("modelservice", "bad-canary", is_served, 90)
    tenant.serve("bad-canary", {"uri": two}, **steps)
    tenant.wait("modelservice", "bad-canary", lambda s: s.get("rollout", {}).get("appliedWeight") == 50, 90)
    uid = tenant.get("modelservice", "bad-canary")["metadata"]["uid"]
    assert len([line for line in left_of(tenant, uid) if line.startswith("Deployment/")]) == 2

    tenant.kubectl("delete", "modelservice", "bad-canary", "--timeout=20s")
    tenant.serve("bad-canary", {"uri": two}, **steps)  # while objects of the same names are still going

    until_all_is_gone(tenant, uid, 90)
    status = tenant.wait("modelservice", "bad-canary", is_served, 90)
    assert "canary" not in status
    assert "history" not in status
    assert until_it_answers(tenant, f"/{tenant.namespace}/bad-canary", "bad-canary") == (200, 3.0)
