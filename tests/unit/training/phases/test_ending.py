"""How an attempt ended, and whether there is a next one."""

from datetime import timedelta

import pytest

from headrace.kube.resources import PODS
from headrace.training.observed import Observed
from training_builders import (
    NOW,
    batch_job,
    container,
    ended,
    pod,
    record,
    stamp,
    training_job,
)
from training_looks import FAILED, RAISED, SECOND, STOPPED, failed_pods, look, under_way


def test_a_failure_that_counts_restarts_after_a_wait():
    planned = look(training_job(under_way()), Observed((batch_job(conditions=FAILED),), failed_pods(), None))

    assert (planned.status["state"], planned.status["attemptsCounted"]) == ("Restarting", 1)
    assert planned.status["failure"]["reason"] == "ScriptRaised"
    assert planned.status["failure"]["retryable"] is True
    assert planned.status["columns"]["try"] == "2/4"
    assert planned.status["nextAttemptAt"] == stamp(NOW + timedelta(seconds=5))


def test_pods_are_released_only_together_with_the_status_that_holds_their_record():
    planned = look(training_job(under_way()), Observed((batch_job(conditions=FAILED),), failed_pods(), None))

    assert {patch.resource for patch in planned.patches} == {PODS}
    assert planned.patches[0].patch["metadata"]["finalizers"] == ["batch.kubernetes.io/job-tracking"]


def test_no_verdict_while_a_pod_may_still_change_its_record():
    still_running = (failed_pods()[0], pod(1))

    planned = look(training_job(under_way()), Observed((batch_job(conditions=FAILED),), still_running, None))

    assert planned.status["reason"] == "Ending"
    assert planned.patches == ()


def test_the_last_restart_fails_the_job():
    job = training_job(under_way(attemptsCounted=3))

    planned = look(job, Observed((batch_job(conditions=FAILED),), failed_pods(), None))

    assert (planned.status["state"], planned.status["reason"]) == ("Failed", "ScriptRaised")
    assert planned.status["failure"]["retryable"] is False
    assert planned.status["columns"]["try"] == "4/4"


def test_a_disruption_restarts_and_counts_nothing():
    gone = pod(0, "Failed", exit_code=6, deleted_at=NOW, message=record("Interrupted", NOW, **{"class": "Disrupted"}))

    planned = look(training_job(under_way(), workers=1), Observed((batch_job(conditions=FAILED),), (gone,), None))

    assert (planned.status["state"], planned.status["attemptsCounted"]) == ("Restarting", 0)


@pytest.mark.parametrize(
    ("failure_class", "reason", "state"),
    [("Storage", "PackageIndexUnavailable", "Restarting"), ("Config", "PackagesNotInstalled", "Failed")],
)
def test_an_index_that_is_away_is_tried_again_and_what_the_resolver_refuses_is_not(failure_class, reason, state):
    said = record("Failed", NOW, **{"class": failure_class, "reason": reason, "message": "requirements.txt: no"})
    ended = pod(0, "Failed", exit_code=4, message=said)

    planned = look(training_job(under_way(), workers=1), Observed((batch_job(conditions=FAILED),), (ended,), None))

    assert (planned.status["state"], planned.status["attemptsCounted"]) == (state, 0)


def test_time_between_an_attempt_s_end_and_somebody_seeing_it_does_not_count_against_the_deadline():
    attempt = under_way()["attempt"] | {"activeSince": stamp(NOW - 40 * SECOND)}
    died = pod(
        0, "Failed", exit_code=1, message=record("Failed", NOW, **{"class": "UserCode", "reason": "ScriptRaised"})
    )
    failed = batch_job(conditions=(("Failed", "PodFailurePolicy"),))

    seen_late = look(
        training_job(under_way(attempt=attempt), workers=1), Observed((failed,), (died,), None), now=NOW + 3600 * SECOND
    ).status

    assert seen_late["state"] == "Restarting"
    assert seen_late["activeSeconds"] == 40
    assert seen_late["history"][0]["finishedAt"] == stamp(NOW)
    assert seen_late["nextAttemptAt"] > stamp(NOW + 3600 * SECOND)


def test_a_job_deleted_by_hand_is_a_disruption():
    planned = look(training_job(under_way()), Observed((), (), None))

    assert (planned.status["state"], planned.status["failure"]["class"]) == ("Restarting", "Disrupted")


def test_an_end_with_exit_0_and_no_record_is_no_success():
    observed = Observed((batch_job(conditions=(("Complete", ""),)),), (pod(0, "Succeeded", exit_code=0),), None)

    planned = look(training_job(under_way(), workers=1), observed)

    assert (planned.status["state"], planned.status["reason"]) == ("Failed", "NoRecord")


def test_a_job_that_went_after_its_script_raised_fails_for_that():
    raised = pod(0, "Failed", exit_code=1, message=record("Failed", NOW, **RAISED), **STOPPED)

    planned = look(training_job(under_way(), workers=1), Observed((), (raised,), None), now=NOW + 80 * SECOND)

    assert (planned.status["state"], planned.status["failure"]["reason"]) == ("Restarting", "ScriptRaised")


def test_a_failure_of_a_side_container_counts_and_is_told_by_its_name():
    failing = pod(0, "Failed", inits=(container("warm-up", ended(1)),))
    observed = Observed((batch_job(conditions=FAILED),), (failing,), None)

    status = look(training_job(under_way(), workers=1), observed).status

    assert (status["state"], status["attemptsCounted"]) == ("Restarting", 1)
    assert (status["failure"]["container"], status["failure"]["exitCode"]) == ("warm-up", 1)
