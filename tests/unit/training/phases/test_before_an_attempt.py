"""Between attempts: what the next one waits for, and what is let go meanwhile."""

from dataclasses import replace
from datetime import timedelta

import pytest

from headrace.kube.resources import JOBS, PODS
from headrace.training.observed import Observed
from training_builders import (
    NOW,
    batch_job,
    pod,
    training_job,
)
from training_looks import FAILED, NOTHING, SECOND, SOURCE, between_attempts, failed_pods, look, under_way


def test_nothing_starts_while_pods_of_an_earlier_job_of_this_name_still_run():
    planned = look(training_job(), replace(NOTHING, strangers=(pod(0),)))

    assert planned.creates == ()


def test_a_suspended_job_creates_nothing():
    planned = look(training_job(suspend=True), NOTHING)

    assert (planned.status["state"], planned.creates) == ("Suspended", ())


def test_the_next_attempt_starts_when_its_time_has_come_and_not_before():
    first = look(training_job(under_way()), Observed((batch_job(conditions=FAILED),), failed_pods(), None)).status
    observed = Observed((batch_job(conditions=FAILED),), failed_pods(), SOURCE)

    early = look(training_job(first), observed, now=NOW + timedelta(seconds=2))
    due = look(training_job(first), observed, now=NOW + timedelta(seconds=6))

    assert early.creates == ()
    assert early.requeue_after == pytest.approx(3)
    assert due.status["attempt"]["number"] == 2
    assert [o["metadata"]["name"] for r, o in due.creates if r == JOBS] == ["text-2"]


def test_pods_of_an_attempt_that_ended_are_let_go_also_when_the_next_one_begins_at_once():
    observed = Observed((batch_job(conditions=FAILED),), failed_pods(), SOURCE)

    planned = look(training_job(between_attempts()), observed, now=NOW + 6 * SECOND)

    assert planned.status["attempt"]["number"] == 2
    assert {patch.resource for patch in planned.patches} == {PODS}


def test_a_job_of_whose_deadline_nothing_is_left_ends_without_another_attempt():
    job = training_job(between_attempts(), activeDeadlineSeconds=40)

    planned = look(job, NOTHING, now=NOW + 6 * SECOND)

    assert planned.creates == ()
    assert planned.status["state"] == "Failed"
    assert planned.status["failure"]["class"] == "Deadline"
    assert [entry["attempt"] for entry in planned.status["history"]] == [1]
