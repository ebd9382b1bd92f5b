"""Pods that cannot start, or cannot be made: what is told, and how long it is waited for."""

from datetime import timedelta

import pytest

from headrace.kube.errors import Forbidden, Refused
from headrace.training.job import AttemptContext, launcher_config
from headrace.training.observed import Observed
from headrace.training.plan import after_refusal
from headrace.training.stages import part_of
from headrace.training.step import POLL_RUNNING
from training_builders import (
    DECLARED,
    NOW,
    SETTINGS,
    batch_job,
    pod,
    stamp,
    training_job,
    unschedulable,
)
from training_looks import SECOND, begun, look, under_way


def test_pods_that_the_job_controller_cannot_make_are_told_with_its_words_and_waited_for_until_the_start_deadline():
    batch = batch_job(startTime=stamp(NOW))
    observed = Observed((batch,), (pod(0),), None, refusal='error looking up service account "nobody"')

    early = look(training_job(under_way()), observed, now=NOW + 2 * SECOND)
    waiting = look(training_job(under_way()), observed, now=NOW + 4 * SECOND)
    too_late = look(training_job(under_way()), observed, now=NOW + 601 * SECOND)

    assert early.status["reason"] != "PodsRefused"
    assert (waiting.status["state"], waiting.status["reason"]) == ("Starting", "PodsRefused")
    assert (
        '1 of 2 pods of Job text-1 were created: error looking up service account "nobody"' in waiting.status["message"]
    )
    assert (too_late.status["state"], too_late.status["failure"]["class"]) == ("Failed", "Config")


def test_pods_that_no_node_fits_queue_and_fail_at_the_start_deadline():
    stuck = pod(0, "Pending", node="", conditions=(unschedulable("0/1: Insufficient nvidia.com/gpu"),))
    observed = Observed((batch_job(),), (stuck,), None)

    waiting = look(training_job(under_way(), startDeadlineSeconds=600), observed)
    too_late = look(training_job(under_way(), startDeadlineSeconds=600), observed, now=NOW + timedelta(seconds=601))

    assert (waiting.status["state"], waiting.status["reason"]) == ("Queued", "Unschedulable")
    assert "nvidia.com/gpu" in waiting.status["message"]
    assert (too_late.status["state"], too_late.status["failure"]["class"]) == ("Failed", "Scheduling")
    assert [delete.name for delete in too_late.deletes] == ["text-1"]


def test_without_a_start_deadline_a_job_waits_for_room_as_long_as_it_takes():
    stuck = pod(0, "Pending", node="", conditions=(unschedulable("0/1: Insufficient nvidia.com/gpu"),))

    planned = look(training_job(under_way()), Observed((batch_job(),), (stuck,), None), now=NOW + timedelta(days=30))

    assert (planned.status["state"], planned.status["reason"]) == ("Queued", "Unschedulable")
    assert "Insufficient nvidia.com/gpu; the TrainingJob waits without a time limit" in planned.status["message"]
    assert planned.requeue_after == POLL_RUNNING


@pytest.mark.parametrize("words", ["exceeded quota: gpus, requested: 1, used: 8, limited: 8"])
def test_without_a_start_deadline_a_job_waits_for_its_quota_as_long_as_it_takes(words):
    month = NOW + timedelta(days=30)
    refusal = Refused(Forbidden(f"POST of Job: 403 Forbidden: {words}", status=403))
    observed = Observed((batch_job(startTime=stamp(NOW)),), (pod(0),), None, refusal=f"pods are forbidden: {words}")

    refused = after_refusal(training_job(begun()), refusal, month, SETTINGS)
    unmade = look(training_job(under_way()), observed, now=month)

    assert (refused.status["state"], refused.status["reason"]) == ("Pending", "Refused")
    assert (unmade.status["state"], unmade.status["reason"]) == ("Starting", "PodsRefused")


def test_without_a_start_deadline_what_is_wrong_ends_a_job_in_ten_minutes():
    observed = Observed((batch_job(),), (pod(0, "Pending", waiting=("ImagePullBackOff", "not found")),), None)

    early = look(training_job(under_way()), observed, now=NOW + 599 * SECOND)
    too_late = look(training_job(under_way()), observed, now=NOW + 601 * SECOND)

    assert (early.status["state"], early.status["reason"]) == ("Starting", "ImagePull")
    assert (too_late.status["state"], too_late.status["failure"]["class"]) == ("Failed", "Image")


def test_a_claim_that_is_missing_is_named_and_ends_a_job_in_ten_minutes():
    told = unschedulable('0/1 nodes are available: persistentvolumeclaim "nope" not found')
    observed = Observed((batch_job(),), (pod(0, "Pending", node="", conditions=(told,)),), None)

    early = look(training_job(under_way()), observed, now=NOW + 599 * SECOND)
    too_late = look(training_job(under_way()), observed, now=NOW + 601 * SECOND)

    assert (early.status["state"], early.status["reason"]) == ("Starting", "VolumesNotReady")
    assert "create the PersistentVolumeClaim nope in namespace team-a" in early.status["message"]
    assert (too_late.status["state"], too_late.status["failure"]["reason"]) == ("Failed", "VolumesNotReady")
    assert "create the PersistentVolumeClaim nope" in too_late.status["failure"]["hint"]


@pytest.mark.parametrize(
    ("message", "is_key"),
    [
        ('secret "masking" not found', True),
        ("couldn't find key key in Secret team-a/masking", True),
        ('secret "headrace-storage" not found', False),
    ],
)
def test_the_secret_of_the_masking_key_is_told_by_its_field(message, is_key):
    stuck = pod(0, "Pending", waiting=("CreateContainerConfigError", message))
    job = training_job(under_way(), workers=1, prepare=DECLARED)

    for at in (NOW, NOW + 601 * SECOND):
        status = look(job, Observed((batch_job(),), (stuck,), None), now=at).status
        said = status["message"] if at == NOW else status["failure"]["hint"]
        assert ("spec.prepare.tables.privacy.keySecretRef names it" in said) is is_key
        assert ("create secret generic masking --from-literal=key=" in said) is is_key
        assert ("headrace tenant add" in said) is not is_key


def test_workers_wait_for_the_names_of_peers_for_which_there_is_no_room_yet():
    def waits(**spec):
        return launcher_config(
            part_of(training_job(**spec)), AttemptContext(1, "image"), SETTINGS
        ).workers.name_deadline

    assert (waits(startDeadlineSeconds=600), waits()) == (660, 86460)


def test_what_pods_wait_for_is_an_event_once():
    observed = Observed((batch_job(),), (pod(0, "Pending", waiting=("ImagePullBackOff", "not found")),), None)

    first = look(training_job(under_way()), observed)
    second = look(training_job(first.status), observed, now=NOW + 5 * SECOND)

    assert [event.reason for event in first.events] == ["ImagePull"]
    assert second.events == ()


def test_a_status_that_says_the_same_twice_is_the_same():
    stuck = pod(0, "Pending", node="", conditions=(unschedulable("0/1"),))
    first = look(training_job(under_way()), Observed((batch_job(),), (stuck,), None))

    second = look(training_job(first.status), Observed((batch_job(),), (stuck,), None), now=NOW + timedelta(seconds=30))

    assert second.status == first.status
