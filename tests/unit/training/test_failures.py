"""Which cause an attempt's pods show: every row of the failure table, and several workers at once."""

from dataclasses import replace
from datetime import timedelta

import pytest

from headrace.api.common import FailureClass
from headrace.training.failures import all_over, cause_of, pod_cause, waiting_for
from training_builders import (
    NOW,
    batch_job,
    container,
    disruption,
    ended,
    pod,
    prepared,
    record,
    scheduled,
    unschedulable,
)

FAILED_JOB = batch_job(conditions=(("Failed", "BackoffLimitExceeded"),))
SECOND = timedelta(seconds=1)
MS = timedelta(milliseconds=1)

SINGLE_POD = {
    "script raised": (
        pod(
            0,
            "Failed",
            exit_code=1,
            message=record(
                "Failed", NOW, **{"class": "UserCode", "reason": "ScriptRaised", "message": "ValueError: x"}
            ),
        ),
        ("UserCode", "ScriptRaised"),
    ),
    "package missing": (
        pod(
            0,
            "Failed",
            exit_code=2,
            message=record("Failed", NOW, **{"class": "Config", "reason": "PackageMissing", "message": "no torch"}),
        ),
        ("Config", "PackageMissing"),
    ),
    "a child was killed for memory, told by the launcher": (
        pod(
            0,
            "Failed",
            exit_code=3,
            reason="OOMKilled",
            message=record("Failed", NOW, **{"class": "OOM", "reason": "OutOfMemory", "message": "limit 1Gi"}),
        ),
        ("OOM", "OutOfMemory"),
    ),
    "PID 1 was killed for memory": (
        pod(0, "Failed", exit_code=137, reason="OOMKilled", message=record("Running", NOW)),
        ("OOM", "OutOfMemory"),
    ),
    "a child was killed for memory and PID 1 ended with 0": (
        pod(0, "Succeeded", exit_code=0, reason="OOMKilled", message=record("Succeeded", NOW)),
        ("OOM", "OutOfMemory"),
    ),
    "PID 1 was killed from outside": (
        pod(0, "Failed", exit_code=137, message=record("Running", NOW)),
        ("Killed", "ProcessKilled"),
    ),
    "pod deleted, the launcher had time to say so": (
        pod(
            0,
            "Failed",
            exit_code=6,
            deleted_at=NOW,
            message=record("Interrupted", NOW, **{"class": "Disrupted", "reason": "Terminated"}),
        ),
        ("Disrupted", "Terminated"),
    ),
    "pod deleted by force": (
        pod(0, "Failed", exit_code=137, deleted_at=NOW, message=record("Running", NOW)),
        ("Disrupted", "PodDeleted"),
    ),
    "pod evicted by the API": (
        pod(0, "Failed", exit_code=143, deleted_at=NOW, conditions=(disruption("EvictionByEvictionAPI"),)),
        ("Disrupted", "Evicted"),
    ),
    "pod preempted": (
        pod(0, "Failed", exit_code=143, deleted_at=NOW, conditions=(disruption("PreemptionByScheduler"),)),
        ("Disrupted", "Preempted"),
    ),
    "over its ephemeral storage": (
        pod(0, "Failed", pod_reason="Evicted", pod_message='Usage of EmptyDir volume "work" exceeds the limit "1Gi"'),
        ("Storage", "StorageLimit"),
    ),
    "command not found": (
        pod(0, "Failed", exit_code=128, reason="StartError", message="exec: no such file"),
        ("Config", "CommandNotFound"),
    ),
    "an image without the launcher": (pod(0, "Failed", exit_code=3, message="boom"), ("UserCode", "ScriptExited")),
    "refused by the node": (
        pod(0, "Failed", pod_reason="OutOfcpu", pod_message="Node didn't have enough cpu"),
        ("Disrupted", "OutOfcpu"),
    ),
    "an init container failed": (
        pod(0, "Failed", inits=(container("warm-up", ended(1, message="no such bucket")),)),
        ("UserCode", "ContainerFailed"),
    ),
    "a side container failed beside a trainer that succeeded": (
        pod(0, "Failed", exit_code=0, message=record("Succeeded", NOW), sides=(container("logs", ended(1)),)),
        ("UserCode", "ContainerFailed"),
    ),
    "script raised and a side container failed after it": (
        pod(
            0,
            "Failed",
            exit_code=1,
            message=record("Failed", NOW, **{"class": "UserCode", "reason": "ScriptRaised"}),
            sides=(container("logs", ended(1)),),
        ),
        ("UserCode", "ScriptRaised"),
    ),
    "a native sidecar that was stopped after a trainer without a record": (
        pod(0, "Failed", exit_code=1, inits=(container("proxy", ended(137)),), native=("proxy",)),
        ("UserCode", "ScriptExited"),
    ),
    "script exited long before its pod was deleted": (
        pod(0, "Running", exit_code=3, finished_at=NOW - 90 * SECOND, deleted_at=NOW + 30 * SECOND),
        ("UserCode", "ScriptExited"),
    ),
    "exit code 0 without a record long before its pod was deleted": (
        pod(0, "Running", exit_code=0, finished_at=NOW - 90 * SECOND, deleted_at=NOW + 30 * SECOND),
        ("Config", "NoRecord"),
    ),
}


@pytest.mark.parametrize("case", SINGLE_POD)
def test_the_cause_of_one_pods_end(case):
    failing, (failure_class, reason) = SINGLE_POD[case]

    cause = cause_of(FAILED_JOB, (failing,), NOW)

    assert (cause.failure_class.value, cause.reason) == (failure_class, reason)


def test_a_pod_that_succeeded_has_no_cause():
    assert pod_cause(pod(0, "Succeeded", exit_code=0, message=record("Succeeded", NOW)), NOW) is None


def test_a_side_containers_failure_names_it_its_exit_code_and_its_words():
    failing = pod(0, "Failed", inits=(container("warm-up", ended(7, message="no such bucket\n")),))

    cause = pod_cause(failing, NOW)

    assert (cause.container, cause.exit_code) == ("warm-up", 7)
    assert cause.message == "init container 'warm-up' ended with exit code 7: no such bucket"
    assert "podTemplate" in cause.advice


def test_a_native_sidecar_that_was_stopped_with_its_trainer_is_no_failure():
    stopped = pod(
        0,
        "Succeeded",
        exit_code=0,
        message=record("Succeeded", NOW),
        inits=(container("proxy", ended(137)),),
        native=("proxy",),
    )

    assert pod_cause(stopped, NOW) is None


def test_a_side_container_that_went_with_its_deleted_pod_is_no_failure():
    """The pod was deleted after its training, which is what the record says."""
    deleted = pod(
        0,
        "Failed",
        exit_code=0,
        message=record("Succeeded", NOW),
        sides=(container("logs", ended(143, NOW + 80 * SECOND)),),
        deleted_at=NOW + 100 * SECOND,
    )

    assert pod_cause(deleted, NOW + 90 * SECOND) is None


@pytest.mark.parametrize("culprit", [0, 1])
def test_of_two_workers_that_die_within_a_second_the_first_is_the_cause(culprit):
    first = record("Failed", NOW + 100 * MS, **{"class": "UserCode", "reason": "ScriptRaised"})
    later = record("Failed", NOW + 250 * MS, **{"class": "Data", "reason": "DatasetNotFound"})
    pods = (
        pod(0, "Failed", exit_code=1, message=first if culprit == 0 else later),
        pod(1, "Failed", exit_code=1, message=first if culprit == 1 else later),
    )

    cause = cause_of(FAILED_JOB, pods, NOW + SECOND)

    assert (cause.failure_class, cause.pod) == (FailureClass.USER_CODE, pods[culprit].name)


def test_a_worker_that_lost_its_peer_is_not_the_cause_even_when_it_said_so_first():
    victim = record("Failed", NOW, **{"class": "Peer", "reason": "PeerLost", "lostPeer": 1})
    pods = (
        pod(0, "Failed", exit_code=5, message=victim),
        pod(1, "Failed", exit_code=137, reason="OOMKilled", finished_at=NOW + SECOND, message=record("Running", NOW)),
    )

    assert cause_of(FAILED_JOB, pods, NOW + SECOND).failure_class is FailureClass.OOM


def test_a_worker_stopped_after_its_peer_failed_is_not_the_cause():
    stopped = record("Interrupted", NOW + 3 * SECOND, **{"class": "Disrupted", "reason": "Terminated"})
    raised = record("Failed", NOW, **{"class": "UserCode", "reason": "ScriptRaised"})
    pods = (
        pod(0, "Failed", exit_code=6, deleted_at=NOW + SECOND, message=stopped),
        pod(1, "Failed", exit_code=1, message=raised),
    )

    assert cause_of(FAILED_JOB, pods, NOW + 4 * SECOND).reason == "ScriptRaised"


def test_where_all_only_lost_peers_the_first_is_told():
    lost = record("Failed", NOW, **{"class": "Peer", "reason": "PeerLost", "lostPeer": 1})

    cause = cause_of(FAILED_JOB, (pod(0, "Failed", exit_code=5, message=lost),), NOW)

    assert (cause.failure_class, cause.reason) == (FailureClass.PEER, "PeerLost")


def test_the_jobs_deadline_goes_before_what_its_pods_say():
    job = batch_job(conditions=(("Failed", "DeadlineExceeded"),))
    stopped = pod(0, "Failed", exit_code=6, deleted_at=NOW, message=record("Interrupted", NOW))

    assert cause_of(job, (stopped,), NOW).failure_class is FailureClass.DEADLINE


def test_a_job_that_was_deleted_is_a_disruption():
    assert cause_of(None, (), NOW).failure_class is FailureClass.DISRUPTED


def test_a_pod_on_a_node_that_does_not_answer_is_waited_for_and_then_taken_for_lost():
    silent = pod(0, "Running", deleted_at=NOW)

    assert not all_over((silent,), NOW + 30 * SECOND)
    assert all_over((silent,), NOW + 60 * SECOND)
    assert cause_of(FAILED_JOB, (silent,), NOW + 60 * SECOND).reason == "NodeLost"


WAITING = {
    "no node fits": (pod(0, "Pending", node="", conditions=(unschedulable("0/1 nodes"),)), "Unschedulable", False),
    "claim missing": (
        pod(
            0,
            "Pending",
            node="",
            conditions=(unschedulable('0/1 nodes are available: persistentvolumeclaim "nope" not found. not found'),),
        ),
        "VolumesNotReady",
        False,
    ),
    "image not to be had": (pod(0, "Pending", waiting=("ImagePullBackOff", "not found")), "ImagePull", False),
    "image never pulled": (pod(0, "Pending", waiting=("ErrImageNeverPull", "")), "ImagePull", False),
    "image name invalid": (pod(0, "Pending", waiting=("InvalidImageName", "bad")), "InvalidImageName", True),
    "Secret missing": (pod(0, "Pending", waiting=("CreateContainerConfigError", "x")), "ContainerConfig", False),
    "ConfigMap of a volume missing": (
        pod(
            0,
            "Pending",
            waiting=("ContainerCreating", ""),
            conditions=(scheduled(NOW - 31 * SECOND), prepared(False)),
        ),
        "VolumesNotReady",
        False,
    ),
    "Secret of a volume missing, with an init container": (
        pod(
            0,
            "Pending",
            waiting=("PodInitializing", ""),
            inits=(container("warm-up", {"waiting": {"reason": "PodInitializing"}}),),
            conditions=(scheduled(NOW - 31 * SECOND), prepared(False)),
        ),
        "VolumesNotReady",
        False,
    ),
    "image of an init container not to be had": (
        pod(
            0,
            "Pending",
            waiting=("PodInitializing", ""),
            inits=(container("warm-up", {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}),),
        ),
        "ImagePull",
        False,
    ),
    "a native sidecar that fails again and again": (
        pod(
            0,
            "Pending",
            waiting=("PodInitializing", ""),
            inits=(container("proxy", {"waiting": {"reason": "CrashLoopBackOff"}}),),
            native=("proxy",),
        ),
        "ContainerFailed",
        False,
    ),
}


@pytest.mark.parametrize("case", WAITING)
def test_what_keeps_a_pod_from_starting(case):
    stuck, reason, hopeless = WAITING[case]

    waiting = waiting_for((pod(1), stuck), NOW)

    assert waiting is not None
    assert (waiting.reason, waiting.hopeless) == (reason, hopeless)


def test_pods_that_run_wait_for_nothing():
    assert waiting_for((pod(0), pod(1)), NOW) is None


UNPREPARED = (scheduled(NOW - 31 * SECOND), prepared(False))
TRIES = tuple(
    'Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox "'
    f'{sandbox * 64}": plugin type="loopback" failed (add): failed to find plugin "loopback" in path [/opt/cni/bin] '
    f'netns "/var/run/netns/cni-{sandbox * 8}-3c1f-11ef-8b1c-0242ac110002"'
    for sandbox in "ab"
)


@pytest.mark.parametrize("said", [*TRIES, 'no runtime for "gvisor" is configured'])
def test_a_pod_without_a_sandbox_is_told_apart_from_one_without_its_volumes(said):
    stuck = pod(0, "Pending", waiting=("ContainerCreating", ""), conditions=UNPREPARED)

    waiting = waiting_for((replace(stuck, no_sandbox=said),), NOW)

    assert waiting is not None
    assert (waiting.failure_class, waiting.reason) == (FailureClass.CONFIG, "SandboxNotCreated")
    assert "node node-1 cannot set up the pod: " in waiting.message
    assert any(words in waiting.message for words in ('failed to find plugin "loopback"', 'no runtime for "gvisor"'))


def test_each_try_of_a_sandbox_is_told_in_the_same_words():
    stuck = pod(0, "Pending", waiting=("ContainerCreating", ""), conditions=UNPREPARED)

    first, second = (waiting_for((replace(stuck, no_sandbox=said),), NOW) for said in TRIES)

    assert first == second


PREPARING = {
    "volumes for a moment": (scheduled(NOW - 29 * SECOND), prepared(False)),
    "an image for long": (scheduled(NOW - 900 * SECOND), prepared(True)),
}


@pytest.mark.parametrize("case", PREPARING)
def test_a_pod_that_its_node_prepares_waits_for_nothing(case):
    assert waiting_for((pod(0, "Pending", waiting=("ContainerCreating", ""), conditions=PREPARING[case]),), NOW) is None


def test_a_native_sidecar_that_fails_beside_a_running_trainer_keeps_nothing_from_starting():
    running = pod(0, inits=(container("proxy", {"waiting": {"reason": "CrashLoopBackOff"}}),), native=("proxy",))

    assert waiting_for((running,), NOW) is None
