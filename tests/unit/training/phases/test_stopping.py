"""An attempt that is stopped before its end."""

from datetime import timedelta

import pytest

from headrace.kube.resources import JOBS
from headrace.training.observed import Observed
from training_builders import (
    NOW,
    batch_job,
    pod,
    stamp,
    training_job,
)
from training_looks import NOTHING, RAISED, SECOND, begun, created, held_up, look, under_way


def test_an_attempt_that_is_suspended_before_its_job_was_made_makes_none():
    planned = look(training_job(begun(), suspend=True), NOTHING)

    assert (planned.creates, planned.status["state"]) == ((), "Suspended")


def test_a_pod_whose_node_never_says_that_it_ended_does_not_hold_the_job_up_for_ever():
    silent = pod(0, deleted_at=NOW)
    observed = Observed((batch_job(),), (silent,), None)

    early = look(training_job(under_way(), workers=1), observed, now=NOW + 40 * SECOND)
    late = look(training_job(under_way(), workers=1), observed, now=NOW + 50 * SECOND)
    gone = look(training_job(late.status, workers=1), Observed((), (silent,), None), now=NOW + 51 * SECOND)

    assert (early.status["reason"], early.deletes) == ("Ending", ())
    assert [(delete.resource, delete.name) for delete in late.deletes] == [(JOBS, "text-1")]
    assert (gone.status["state"], gone.status["failure"]["reason"]) == ("Restarting", "NodeLost")
    assert gone.status["attemptsCounted"] == 0


def test_suspended_time_does_not_count_against_the_deadline():
    attempt = under_way()["attempt"] | {"activeSince": stamp(NOW - 40 * SECOND)}
    stopped = look(
        training_job(under_way(attempt=attempt), suspend=True, workers=1),
        Observed((), (pod(0, "Failed", exit_code=6, deleted_at=NOW),), None),
    ).status

    resumed = look(training_job(stopped, activeDeadlineSeconds=3600), NOTHING, now=NOW + timedelta(hours=2))

    assert stopped["activeSeconds"] == 40
    assert created(resumed, JOBS)["spec"]["activeDeadlineSeconds"] == 3560


def test_suspending_stops_the_job_and_ends_the_attempt_once_its_pods_are_over():
    job = training_job(under_way(), suspend=True, workers=1)

    stopping = look(job, Observed((batch_job(),), (pod(0),), None))
    stopped = look(job, Observed((), (pod(0, "Failed", exit_code=6, deleted_at=NOW),), None))

    assert [delete.name for delete in stopping.deletes] == ["text-1"]
    assert stopped.status["state"] == "Suspended"
    assert stopped.status["history"][0]["outcome"] == "Suspended"
    assert stopped.status["attemptsCounted"] == 0


@pytest.mark.parametrize("training", [held_up(), held_up("Failed", 1, **RAISED)])
def test_then_the_attempts_job_is_deleted(training):
    observed = Observed((batch_job(),), (training,), None)

    planned = look(training_job(under_way(), workers=1), observed, now=NOW + 61 * SECOND)

    assert [delete.name for delete in planned.deletes] == ["text-1"]
    assert [event.reason for event in planned.events] == ["SideContainerStopped"]
    assert planned.status["reason"] == "Ending"


def test_a_worker_that_still_trains_is_not_stopped_for_another_ones_side_container():
    observed = Observed((batch_job(),), (held_up(), pod(1)), None)

    assert look(training_job(under_way()), observed, now=NOW + 61 * SECOND).deletes == ()
