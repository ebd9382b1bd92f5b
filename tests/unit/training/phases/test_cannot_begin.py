"""What keeps an attempt from beginning: waited for, and for how long."""

from dataclasses import replace
from datetime import timedelta

import pytest

from headrace.api.common import FailureClass
from headrace.kube.errors import Forbidden, Invalid, Refused
from headrace.kube.resources import JOBS
from headrace.training.observed import Observed, Source
from headrace.training.plan import after_refusal
from headrace.training.view import Problem, Start
from training_builders import (
    NOW,
    SETTINGS,
    batch_job,
    stamp,
    training_job,
)
from training_looks import FAILED, NOTHING, SECOND, SOURCE, begun, between_attempts, failed_pods, kinds, look


@pytest.mark.parametrize(
    ("source", "reason"), [(None, "SourceNotFound"), (Source({"other.py": ""}, "1"), "EntrypointNotFound")]
)
def test_a_source_that_is_not_there_is_waited_for_and_then_fails(source, reason):
    observed = replace(NOTHING, source=source)

    waiting = look(training_job(), observed)
    too_late = look(training_job(), observed, now=NOW + timedelta(seconds=601))

    assert (waiting.status["state"], waiting.status["reason"]) == ("Pending", reason)
    assert waiting.creates == ()
    assert (too_late.status["state"], too_late.status["failure"]["class"]) == ("Failed", "Config")


def test_a_registry_that_is_away_is_waited_for_without_end():
    start = Start(problem=Problem(FailureClass.TRACKING, "TrackingUnavailable", "no connection", patient=True))

    planned = look(training_job(), NOTHING, start, NOW + timedelta(days=1))

    assert (planned.status["state"], planned.status["reason"]) == ("Pending", "TrackingUnavailable")


def test_an_attempt_whose_job_was_not_made_waits_for_a_registry_that_went_away_meanwhile():
    away = Start(problem=Problem(FailureClass.TRACKING, "TrackingUnavailable", "no connection", patient=True))

    planned = look(training_job(begun()), NOTHING, away)

    assert (planned.creates, planned.status["reason"]) == ((), "TrackingUnavailable")
    assert "finishedAt" not in planned.status["attempt"]


def test_an_attempt_whose_job_was_not_made_waits_for_a_source_that_went_away_meanwhile_and_then_fails():
    gone = replace(NOTHING, source=None)

    waiting = look(training_job(begun()), gone)
    too_late = look(training_job(waiting.status), gone, now=NOW + 601 * SECOND)

    assert (waiting.creates, waiting.status["reason"]) == ((), "SourceNotFound")
    assert (too_late.status["state"], [entry["attempt"] for entry in too_late.status["history"]]) == ("Failed", [1])


def test_what_the_api_server_will_never_take_ends_the_job_and_says_why():
    refusal = Refused(Invalid("POST of Job: 422 Invalid: must be an integer", status=422))

    planned = after_refusal(training_job(begun()), refusal, NOW, SETTINGS)

    assert (planned.status["state"], planned.status["reason"]) == ("Failed", "Refused")
    assert (planned.status["failure"]["class"], planned.status.get("attemptsCounted", 0)) == ("Config", 0)
    assert "must be an integer" in planned.status["message"]


def test_what_the_api_server_does_not_take_now_is_tried_again_until_the_start_deadline():
    refusal = Refused(Forbidden("POST of Job: 403 Forbidden: exceeded quota", status=403))

    first = after_refusal(training_job(begun(), startDeadlineSeconds=600), refusal, NOW, SETTINGS)
    again = look(training_job(first.status, startDeadlineSeconds=600), NOTHING, now=NOW + 2 * SECOND)
    second = after_refusal(training_job(again.status, startDeadlineSeconds=600), refusal, NOW + 2 * SECOND, SETTINGS)
    too_late = after_refusal(
        training_job(second.status, startDeadlineSeconds=600), refusal, NOW + 601 * SECOND, SETTINGS
    )

    assert (first.status["state"], first.status["reason"]) == ("Pending", "Refused")
    assert "exceeded quota" in first.status["message"]
    assert JOBS in kinds(again)
    assert first.status == again.status == second.status
    assert (len(first.events), second.events) == (1, ())
    assert (too_late.status["state"], too_late.status["failure"]["reason"]) == ("Failed", "Refused")


FORBIDDEN = Start(problem=Problem(FailureClass.CONFIG, "TrackingForbidden", "not yours"))


def test_what_keeps_the_second_attempt_from_beginning_is_waited_for_from_when_it_could_have_begun():
    observed = Observed((batch_job(conditions=FAILED),), failed_pods(), SOURCE)
    job = training_job(between_attempts() | {"startTime": stamp(NOW - timedelta(days=1))})

    just_in_time = look(job, observed, FORBIDDEN, NOW + 605 * SECOND)
    too_late = look(job, observed, FORBIDDEN, NOW + 606 * SECOND)

    assert (just_in_time.status["state"], just_in_time.status["reason"]) == ("Pending", "TrackingForbidden")
    assert too_late.status["state"] == "Failed"


def test_an_attempt_that_cannot_begin_leaves_the_history_of_those_that_ended():
    observed = Observed((batch_job(conditions=FAILED),), failed_pods(), SOURCE)
    before = between_attempts()

    after = look(training_job(before), observed, FORBIDDEN, NOW + 606 * SECOND).status

    assert after["failure"]["reason"] == "TrackingForbidden"
    assert after["history"] == before["history"]
    assert after["attempt"] == before["attempt"]


def test_what_keeps_a_resumed_job_from_going_on_is_waited_for_from_when_it_was_resumed():
    suspended = look(training_job(between_attempts(), suspend=True), NOTHING, now=NOW + 10 * SECOND).status
    resumed_at = NOW + timedelta(hours=2)

    first = look(training_job(suspended), NOTHING, FORBIDDEN, resumed_at)
    later = look(training_job(first.status), NOTHING, FORBIDDEN, resumed_at + 599 * SECOND)
    too_late = look(training_job(first.status), NOTHING, FORBIDDEN, resumed_at + 601 * SECOND)

    assert [planned.status["state"] for planned in (first, later, too_late)] == ["Pending", "Pending", "Failed"]
