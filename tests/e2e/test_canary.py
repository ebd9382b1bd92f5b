"""Canaries that go wrong, and operators that go away meanwhile, under 50 requests a second."""

from __future__ import annotations

import json
import time
from contextlib import suppress

import pytest

from open_loop import OpenLoopClient, Watched, follow, is_applied, within_binomial_bounds
from platform_under_test import SYSTEM, Object, Tenant, ask, candidate, is_served, kill_in, run

# A version in the seconds that it takes to write its graph: what is tried here is the rollout of models that go wrong.
# Of each token a row of a table, their mean, and four probabilities of it.
SCRIPT = """
import headrace_client as headrace, numpy as np, onnx
from onnx import TensorProto, helper, numpy_helper

random = np.random.RandomState({seed})
weights = {{
    "table": random.normal(size=({tokens}, 8)), "matrix": random.normal(size=(8, 4)), "almost_ten": np.array(9.5),
}}
constants = [numpy_helper.from_array(value.astype("float32"), name) for name, value in weights.items()]
constants.append(numpy_helper.from_array(np.array(1, "int64"), "one"))
node = helper.make_node
nodes = [
    node("Gather", ["table", "tokens"], ["rows"]),
    {mixing}
    node("ReduceMean", ["mixed"], ["mean"], axes=[1], keepdims=0),
    node("MatMul", ["mean", "matrix"], ["scores"]), node("Softmax", ["scores"], ["probable"]),
    {ending}
]
inputs = [helper.make_tensor_value_info("tokens", TensorProto.INT32, ["requests", "length"])]
outputs = [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["requests", 4])]
graph = helper.make_graph(nodes, "canary", inputs, outputs, constants)
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), "model.onnx")
headrace.export("model.onnx", format="ONNX")
"""
ROWS = 'node("Identity", ["rows"], ["mixed"]),'
# Its memory grows with the square of a request's length.
PAIRS = """node("Transpose", ["rows"], ["columns"], perm=[0, 2, 1]), node("MatMul", ["rows", "columns"], ["pairs"]),
    node("Softmax", ["pairs"], ["likeness"]), node("MatMul", ["likeness", "rows"], ["mixed"]),"""
FINITE = 'node("Identity", ["probable"], ["probabilities"]),'
# The logarithm of 9.5 minus the request's length: of the ten tokens that clients send it is NaN.
NOT_FINITE = """node("Shape", ["tokens"], ["shape"]), node("Gather", ["shape", "one"], ["length"]),
    node("Cast", ["length"], ["many"], to=TensorProto.FLOAT), node("Sub", ["almost_ten", "many"], ["left"]),
    node("Log", ["left"], ["factor"]), node("Mul", ["probable", "factor"], ["probabilities"]),"""
TOKENS = 100
REQUEST = {"inputs": [{"name": "tokens", "shape": [1, 10], "datatype": "INT32", "data": list(range(10))}]}
LONG = 16_000  # tokens: 1 GB for each pair of them
LONG_REQUEST = {"inputs": [{"name": "tokens", "shape": [1, LONG], "datatype": "INT32", "data": [1] * LONG}]}
RATE = 50.0
TRAINING = {
    "framework": "Script",
    "storage": {"secretRef": {"name": "headrace-storage"}},
    "tracking": {"experiment": "canary"},
    "output": {"model": "canary", "formats": ["ONNX"], "alias": "candidate"},
}
CHECKS = [{"name": "errors", "metric": "SuccessRate", "min": "0.99", "minRequests": 30}]
STEPS = [{"weight": 20, "hold": "8s"}, {"weight": 50, "hold": "8s"}]


ROLLOUT = {
    "steps": STEPS,
    "analysis": {"interval": "2s", "failureLimit": 1, "checks": CHECKS},
    "promotion": {"alias": "champion"},
}


def bring_out(
    tenant: Tenant, job: str, *, seed: int, tokens: int = TOKENS, mixing: str = ROWS, ending: str = FINITE
) -> str:
    """Make a version and point `candidate` at it; its number. It can tell nothing of tokens from `tokens` on."""
    tenant.script(job, SCRIPT.format(seed=seed, tokens=tokens, mixing=mixing, ending=ending))
    tenant.train(job, **TRAINING)
    status = tenant.finished(job)
    assert status["state"] == "Succeeded", status
    return str(status["model"]["version"])


@pytest.fixture(scope="module")
def service(tenant: Tenant) -> str:
    """A service on its first version; where its requests go."""
    bring_out(tenant, "canary-first", seed=1)
    limits = {"limits": {"memory": "512Mi"}}
    tenant.serve("canary", candidate("canary"), scaling={"replicas": 2}, rollout=ROLLOUT, resources=limits)
    tenant.wait("modelservice", "canary", is_served, 120)
    return f"{tenant.platform.gateway}/{tenant.namespace}/canary/v2/models/canary/infer"


def send(
    tenant: Tenant, url: str, phase: str, version: str, meanwhile=lambda status: None
) -> tuple[OpenLoopClient, Watched]:
    """Requests from now until the rollout of `version` has ended in `phase`."""
    client = OpenLoopClient(url, REQUEST, RATE)

    def ended(status: Object) -> bool:
        last = (status.get("history") or [{}])[-1]
        return status["phase"] == phase and last.get("version") == version

    return client, follow(tenant, "canary", client, ended, 240, meanwhile)


def test_of_a_failing_version_only_what_it_answered_itself_fails(tenant, service):
    """Its vocabulary is too small for the requests that stable answers: each that it gets it answers with an error."""
    stable = tenant.status("modelservice", "canary")["columns"]["stable"]
    version = bring_out(tenant, "canary-failing", seed=2, tokens=5)

    client, seen = send(tenant, service, "RolledBack", version)

    status = tenant.status("modelservice", "canary")
    assert (status["phase"], status["reason"]) == ("RolledBack", "AnalysisFailed"), status
    assert status["columns"]["stable"] == stable
    assert client.failed, "the canary got no request"
    assert {answer.status for answer in client.failed} == {400}, client.outcomes()
    assert all("model cannot compute this request" in answer.error for answer in client.failed), client.outcomes()
    at = [moment for moment, status in seen if is_applied(status, 20)]
    window = [answer for answer in client.answers if min(at) <= answer.at <= max(at)]
    assert within_binomial_bounds(sum(answer.status != 200 for answer in window), len(window), 0.2)
    assert not [a for a in client.failed if a.at > max(at) + 10], "answers failed long after the rollback"


def test_what_fails_at_the_gateway_and_never_reaches_a_pod_turns_a_version_back(tenant, service):
    """One of its two servers is killed: the pods that are left answer all that reaches them, the gateway says 502."""
    version = bring_out(tenant, "canary-dying", seed=3)
    killed: list[str] = []

    def kill_one(status: Object) -> None:
        if killed or not is_applied(status, 50) or status["canary"].get("readyReplicas") != 2:
            return
        selector = f"headrace.dev/revision={status['canary']['revision']}"
        pods = json.loads(tenant.kubectl("get", "pods", "-l", selector, "-o", "json"))["items"]
        kill_in(pods[0], "headrace_onnxruntime")  # as an OOM kill or a segmentation fault would
        killed.append(pods[0]["metadata"]["name"])

    longer = [STEPS[0], {"weight": 50, "hold": "25s"}]
    tenant.kubectl(
        "patch", "modelservice", "canary", "--type=merge", "-p", json.dumps({"spec": {"rollout": {"steps": longer}}})
    )
    client, _ = send(tenant, service, "RolledBack", version, kill_one)

    status = tenant.status("modelservice", "canary")
    assert killed
    assert status["reason"] == "AnalysisFailed", status
    assert "failed at the gateway" in status["rejected"][-1]["message"], status["rejected"][-1]
    assert {answer.status for answer in client.failed} <= {0, 502, 504}, client.outcomes()


def keeps_its_steps(tenant: Tenant) -> None:
    """As the service was made: another test may have given it others."""
    patch = json.dumps({"spec": {"rollout": {"steps": STEPS}}})
    tenant.kubectl("patch", "modelservice", "canary", "--type=merge", "-p", patch)


def test_a_version_that_answers_nan_is_turned_back(tenant, service):
    """Each of its answers is a 200."""
    keeps_its_steps(tenant)
    version = bring_out(tenant, "canary-not-finite", seed=5, ending=NOT_FINITE)

    client, _ = send(tenant, service, "RolledBack", version)

    status = tenant.status("modelservice", "canary")
    assert status["reason"] == "AnalysisFailed", status
    assert "NaN or an infinity" in status["rejected"][-1]["message"], status["rejected"][-1]
    assert client.failed == [], client.outcomes()


def test_a_version_that_is_out_of_memory_says_so(tenant, service):
    keeps_its_steps(tenant)
    version = bring_out(tenant, "canary-hungry", seed=6, mixing=PAIRS)

    def ask_for_much(status: Object) -> None:
        """Until the canary has got one: stable, which gets most of them, answers them."""
        if is_applied(status, 20) or is_applied(status, 50):
            for _ in range(5):
                with suppress(OSError):  # the server that it reaches may end meanwhile
                    ask(service, LONG_REQUEST)

    send(tenant, service, "RolledBack", version, ask_for_much)

    status = tenant.status("modelservice", "canary")
    reasons = {status["reason"], status["history"][-1]["reason"], status["rejected"][-1]["reason"]}
    assert reasons == {"OutOfMemory"}, status
    assert "raise resources.limits.memory" in status["rejected"][-1]["message"], status["rejected"][-1]


def test_a_canary_whose_only_pod_is_deleted_gets_another_one_and_a_person_promotes_it(tenant, service):
    keeps_its_steps(tenant)
    version = bring_out(tenant, "canary-deleted", seed=7)
    deleted: list[float] = []
    promoted: list[str] = []
    lost: list[float] = []

    def act(status: Object) -> None:
        if not deleted and is_applied(status, 20):
            selector = f"headrace.dev/revision={status['canary']['revision']}"
            tenant.kubectl("delete", "pods", "-l", selector, "--wait=false")
            deleted.append(time.time())
        if status.get("reason") == "CanaryUnavailable":
            lost.append(time.time())
        elif lost and not promoted and status["phase"] == "Canarying" and status["canary"].get("readyReplicas"):
            where = ("-n", tenant.namespace, "--kubeconfig", str(tenant.platform.cluster.kubeconfig))
            promoted.append(run("headrace", "promote", "canary", *where, "--reason", "its pod is back"))

    client, _ = send(tenant, service, "Stable", version, act)

    status = tenant.status("modelservice", "canary")
    assert deleted
    assert lost
    assert promoted
    assert "gets all requests as soon as its pods are ready" in promoted[0]
    assert status["columns"]["stable"] == version, status
    last = status["history"][-1]
    assert (last["outcome"], last["reason"]) == ("Promoted", "PromotedByHand"), status
    assert status["acts"][-1]["reason"] == "its pod is back"
    assert status["acts"][-1]["by"] == last["by"]
    assert {answer.status for answer in client.failed} <= {503}, client.outcomes()
    assert not [answer for answer in client.failed if not deleted[0] - 1 < answer.at < deleted[0] + 8], (
        client.outcomes()
    )


def test_an_operator_that_is_killed_again_and_again_promotes_once(tenant, service):
    """Killed at each step: one rollout in the history, one move of the alias, one outcome, no request lost."""
    version = bring_out(tenant, "canary-good", seed=4)
    steps: set[int] = set()

    def kill_operator(status: Object) -> None:
        step = (status.get("rollout") or {}).get("step", -1)
        if status["phase"] in ("Canarying", "Promoting") and step not in steps:
            steps.add(step)
            operator = ("-l", "app.kubernetes.io/component=operator", "--force", "--grace-period=0", "--wait=false")
            tenant.platform.cluster.kubectl("-n", SYSTEM, "delete", "pod", *operator)

    client, _ = send(tenant, service, "Stable", version, kill_operator)

    status = tenant.status("modelservice", "canary")
    assert len(steps) >= 3, steps
    assert status["columns"]["stable"] == version, status
    assert client.failed == []
    assert [entry["outcome"] for entry in status["history"] if entry["version"] == version] == ["Promoted"]
    tenant.wait("modelservice", "canary", lambda s: s["promotion"].get("expectedVersion") == version, 30)
    events = json.loads(tenant.kubectl("get", "events", "-o", "json", "--field-selector=involvedObject.name=canary"))
    moves = [e for e in events["items"] if e["reason"] == "AliasMoved" and e["message"].endswith(f"version {version}")]
    assert [event.get("count") or 1 for event in moves] == [1], moves
    left = tenant.kubectl("get", "deployments", "-l", "headrace.dev/modelservice=canary", "-o", "name").split()
    assert left == [f"deployment.apps/{status['stable']['revision']}"]


def test_after_the_rollback_nothing_of_the_canary_is_left(tenant, service):
    deadline = time.monotonic() + 60
    stable = tenant.status("modelservice", "canary")["stable"]["revision"]
    kinds = "deployments,poddisruptionbudgets,controllerrevisions"
    while True:
        names = tenant.kubectl("get", kinds, "-l", "headrace.dev/modelservice=canary", "-o", "name").split()
        others = [name for name in names if not name.endswith(f"/{stable}")]
        if not others:
            return
        assert time.monotonic() < deadline, others
        time.sleep(1)
