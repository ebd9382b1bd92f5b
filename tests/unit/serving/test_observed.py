"""What the cluster says of a serving pod: ready for the gateway, or in which trouble."""

import json
from datetime import timedelta

import pytest

from headrace.serving.observed import SETTLE, Observed, Trouble, read_pod
from serving_builders import NOW, serving_pod


def pod(container=None, init=None, ready_at=NOW, conditions=(), **meta):
    status = {"podIP": "10.0.0.1", "conditions": list(conditions)}
    if ready_at is not None:
        stamp = ready_at.strftime("%Y-%m-%dT%H:%M:%SZ")
        status["conditions"].append({"type": "Ready", "status": "True", "lastTransitionTime": stamp})
    if container is not None:
        status["containerStatuses"] = [{"name": "server"} | container]
    if init is not None:
        status["initContainerStatuses"] = [{"name": "loader"} | init]
    return read_pod({"metadata": {"name": "p", "labels": {"headrace.dev/revision": "r"}} | meta, "status": status})


def ended(exit_code=1, **fields):
    return {"state": {"terminated": {"exitCode": exit_code} | fields}}


def record(**fields):
    return json.dumps({"protocol": 1, "outcome": "Failed"} | fields)


def test_a_pod_takes_requests_when_it_has_been_ready_for_a_while():
    ready = pod(ready_at=NOW)

    assert not ready.takes_requests(NOW)
    assert ready.takes_requests(NOW + SETTLE)
    assert not pod(ready_at=NOW, deletionTimestamp="2030-01-01T12:00:00Z").takes_requests(NOW + timedelta(hours=1))


def test_a_slow_gateway_knows_of_a_pod_later():
    stamp = NOW.strftime("%Y-%m-%dT%H:%M:%SZ")
    status = {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": stamp}]}
    ready = read_pod({"metadata": {"name": "p"}, "status": status}, timedelta(seconds=10))

    assert not ready.takes_requests(NOW + timedelta(seconds=9))
    assert ready.takes_requests(NOW + timedelta(seconds=10))


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ({"init": ended(2, message=record(**{"class": "Data", "reason": "DigestMismatch"}))}, ("DigestMismatch", True)),
        ({"init": ended(2, message=record(**{"class": "Storage", "reason": "Away"}))}, ("Away", False)),
        ({"container": ended(137, reason="OOMKilled")}, ("OutOfMemory", False)),
        ({"container": ended(137, reason="OOMKilled") | {"restartCount": 1}}, ("OutOfMemory", True)),
        ({"container": ended(139) | {"restartCount": 1}}, ("Crashed", False)),
        ({"container": ended(139) | {"restartCount": 2}}, ("Crashed", True)),
        ({"container": {"state": {"waiting": {"reason": "ImagePullBackOff"}}}}, ("ImagePull", False)),
        ({"container": {"state": {"waiting": {"reason": "CreateContainerConfigError"}}}}, ("ContainerConfig", False)),
        ({"conditions": [{"type": "PodScheduled", "status": "False"}]}, ("Unschedulable", False)),
    ],
)
def test_what_keeps_a_pod_from_working_and_whether_waiting_may_help(statuses, expected):
    trouble = pod(**statuses).trouble

    assert trouble is not None
    assert (trouble.reason, trouble.final) == expected


@pytest.mark.parametrize(
    ("secret", "what_to_do"),
    [
        ("headrace-storage-read", ": run: headrace tenant add team-a"),
        (
            "own",
            ": create it, or change the field to headrace-storage-read, which `headrace tenant add team-a` creates",
        ),
    ],
)
def test_of_the_secret_of_storage_that_is_missing_field_namespace_and_command_are_told(secret, what_to_do):
    waiting = {"reason": "CreateContainerConfigError", "message": f'secret "{secret}" not found'}
    status = {"initContainerStatuses": [{"name": "loader", "state": {"waiting": waiting}}]}
    seen = {"metadata": {"name": "p", "namespace": "team-a"}, "status": status}

    trouble, of_another = read_pod(seen, secret=secret).trouble, read_pod(seen, secret="another").trouble

    assert (trouble.reason, of_another.reason) == ("ContainerConfig", "ContainerConfig")
    field = "spec.storage.secretRef.name names it, and namespace team-a does not have it"
    assert trouble.hint == f"{field}{what_to_do}"
    assert "spec.storage" not in of_another.hint


@pytest.mark.parametrize(
    "statuses", [{}, {"init": ended(0)}, {"container": {"state": {"running": {}}}}, {"container": {"state": {}}}]
)
def test_a_pod_that_works_is_in_no_trouble(statuses):
    assert pod(**statuses).trouble is None


@pytest.mark.parametrize("reason", ["two words", "", 7, "x" * 500, "-", None, {"a": 1}])
def test_a_reason_that_the_api_server_would_refuse_is_not_handed_on(reason):
    trouble = pod(container=ended(1, message=record(reason=reason))).trouble

    assert trouble is not None
    assert trouble.reason == "Failed" or trouble.reason.isalnum()
    assert len(trouble.reason) <= 64


@pytest.mark.parametrize("message", ["{", "{" * 10000, "{}", "[]", '{"outcome": "Succeeded"}', "plain words"])
def test_a_message_that_is_no_record_is_quoted_as_it_is(message):
    trouble = pod(container=ended(3, message=message)).trouble

    assert trouble is not None
    assert trouble.reason == "Crashed"
    assert message[-20:] in trouble.message


# --- who took a pod ---------------------------------------------------------------------------------------------------


def unready(containers="False", target=None, **meta):
    conditions = [{"type": "Ready", "status": "False"}, {"type": "ContainersReady", "status": containers}]
    if target:
        conditions.append({"type": "DisruptionTarget", "status": "True", "reason": target})
    return pod(ready_at=None, conditions=conditions, **meta)


@pytest.mark.parametrize(
    ("seen", "taken"),
    [
        (unready(deletionTimestamp="2030-01-01T12:00:30Z"), True),
        (unready(target="EvictionByEvictionAPI"), True),
        (unready(target="PreemptionByScheduler"), True),
        (unready(target="TerminationByKubelet"), True),
        (unready(containers="True"), True),  # only the node's controller says that it is not ready: the node is lost
        (unready(), False),
        (unready(container=ended(137, reason="OOMKilled")), False),
        (pod(), False),
    ],
)
def test_a_pod_that_is_taken_from_outside_is_told_from_one_that_fails(seen, taken):
    assert seen.disrupted is taken


def test_what_a_taken_pods_containers_ended_with_is_no_trouble_of_theirs():
    assert unready(target="TerminationByKubelet", container=ended(137)).trouble is None


def test_a_revision_is_disrupted_while_one_of_its_pods_is_being_taken():
    taken = serving_pod("a", "r", going=True, disrupted=True)

    assert Observed(None, None, (serving_pod("b", "r"), taken)).is_disrupted("r")
    assert not Observed(None, None, (serving_pod("b", "r"), taken)).is_disrupted("other")
    assert not Observed(None, None, (serving_pod("b", "r", disrupted=True, ended=True),)).is_disrupted("r")


@pytest.mark.parametrize(
    ("pods", "replaced"),
    [
        ((), True),  # taken at once, without a grace
        ((serving_pod("new", "r", created=NOW),), True),
        ((serving_pod("new", "r", created=NOW), serving_pod("old", "r", created=NOW - timedelta(seconds=9))), False),
        ((serving_pod("old", "r", created=NOW - timedelta(seconds=9), disrupted=True),), True),
    ],
)
def test_a_revision_is_replaced_when_no_pod_of_then_is_left(pods, replaced):
    assert Observed(None, None, pods).is_replaced("r", NOW + timedelta(milliseconds=400)) is replaced


@pytest.mark.parametrize(
    ("failure_class", "final", "platforms"),
    [("Scheduling", False, True), ("Storage", False, True), ("Config", True, False), ("OOM", False, False)],
)
def test_what_the_platform_lacks_is_no_fault_of_the_model(failure_class, final, platforms):
    assert Trouble(failure_class, "R", "m", "p", "c", final=final).is_platforms is platforms
