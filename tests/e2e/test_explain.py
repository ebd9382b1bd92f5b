"""Explanations of a served model: through the gateway, by pods of their own, and never at the cost of who infers."""

from __future__ import annotations

import json
import time

import pytest

from open_loop import OpenLoopClient, follow
from platform_under_test import Object, Tenant, ask, condition, first_answer, is_served, is_true, kill_in
from published import adds, publish

NAME = "explained"
REQUEST = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [2, 1], "data": [3.0, -1.0]}]}
EXPLAINER = "headrace.dev/role=explainer"
RATE = 20.0


@pytest.fixture(scope="module")
def service(tenant: Tenant) -> str:
    """A service whose model adds 5, and that explains it; where its protocol is."""
    uri = publish(tenant, "adds-5", adds(5.0))
    tenant.serve(NAME, {"uri": uri}, explain={"resources": {"limits": {"cpu": "500m", "memory": "256Mi"}}})
    tenant.wait("modelservice", NAME, is_served, 120)
    tenant.wait("modelservice", NAME, lambda status: is_true(status, "ExplainerReady"), 120)
    return f"{tenant.platform.gateway}/{tenant.namespace}/{NAME}/v2/models/{NAME}"


def explained(url: str) -> Object:
    return first_answer(f"{url}/explain", REQUEST)


def pods(tenant: Tenant) -> list[Object]:
    found: list[Object] = json.loads(tenant.kubectl("get", "pods", "-l", EXPLAINER, "-o", "json"))["items"]
    return [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]


def test_an_answer_is_explained_to_the_digit_by_a_pod_of_its_own(tenant, service):
    answer = explained(service)

    [tensor] = answer["explanations"]
    assert (tensor["name"], tensor["shape"], tensor["data"]) == ("x", [2, 1], [3.0, -1.0])
    told = answer["parameters"]
    assert (told["prediction"], told["base"], told["complete"]) == ([8.0, 4.0], [5.0, 5.0], True)
    assert first_answer(f"{service}/infer", REQUEST)["outputs"][0]["data"] == [8.0, 4.0]
    assert ask(f"{service}/explain", {"inputs": []})[0] == 400
    said = condition(tenant.status("modelservice", NAME), "ExplainerReady")["message"]
    assert f"/v2/models/{NAME}/explain" in said


def test_an_explainer_that_is_killed_costs_those_who_infer_nothing_and_comes_back(tenant, service):
    client = OpenLoopClient(f"{service}/infer", REQUEST, RATE)
    [pod] = pods(tenant)

    def restarts() -> int:
        return sum(state["restartCount"] for found in pods(tenant) for state in found["status"]["containerStatuses"])

    def kill_once(status: Object) -> None:
        if not killed:
            killed.append(pod["metadata"]["name"])
            kill_in(pod, "headrace_explainer")

    killed: list[str] = []
    seen = follow(
        tenant, NAME, client, lambda status: is_true(status, "ExplainerReady") and restarts() == 1, 90, kill_once
    )

    assert {(status["phase"], status["columns"]["ready"]) for _, status in seen} == {("Stable", "True")}
    assert client.failed == []
    assert explained(service)["parameters"]["base"] == [5.0, 5.0]


def test_after_a_promotion_the_new_bytes_are_explained_and_without_the_field_nothing_is(tenant, service):
    uri = publish(tenant, "adds-7", adds(7.0))
    patch = json.dumps({"spec": {"model": {"uri": uri}}})
    tenant.kubectl("patch", "modelservice", NAME, "--type=merge", f"--patch={patch}")
    deadline = time.monotonic() + 120
    while (base := explained(service)["parameters"]["base"]) != [7.0, 7.0]:
        assert base == [5.0, 5.0]
        assert time.monotonic() < deadline
        time.sleep(1)

    tenant.kubectl("patch", "modelservice", NAME, "--type=merge", '--patch={"spec": {"explain": null}}')
    tenant.wait("modelservice", NAME, lambda status: not condition(status, "ExplainerReady"), 30)
    while pods(tenant) or ask(f"{service}/explain", REQUEST)[0] != 404:  # of the server that infers
        assert time.monotonic() < deadline
        time.sleep(1)
    assert first_answer(f"{service}/infer", REQUEST)["outputs"][0]["data"] == [10.0, 6.0]
