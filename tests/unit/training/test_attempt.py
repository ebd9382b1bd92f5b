"""The end of an attempt in the status: its outcome, what counts, when the next one starts."""

from __future__ import annotations

from datetime import timedelta

import pytest

from headrace.api.trainingjob import Attempt, AttemptOutcome, FailureClass, TrainingJobStatus
from headrace.training.attempt import end_failed
from headrace.training.failures import Cause
from training_builders import NOW, training_job


def ended(status: TrainingJobStatus, failure_class: FailureClass) -> TrainingJobStatus:
    number = status.attempt.number + 1 if status.attempt else 1
    begun = status.evolve(attempt=Attempt(number=number, job=f"j-{number}", started_at=NOW))
    return end_failed(training_job(), begun, Cause(failure_class, "Why", "so", NOW), NOW, NOW)


@pytest.mark.parametrize(
    ("failure_class", "outcome", "counted"),
    [
        (FailureClass.DISRUPTED, AttemptOutcome.INTERRUPTED, 0),
        (FailureClass.USER_CODE, AttemptOutcome.FAILED, 1),
        (FailureClass.OOM, AttemptOutcome.FAILED, 1),
    ],
)
def test_what_was_no_fault_of_its_own_is_an_interruption(failure_class, outcome, counted):
    status = ended(TrainingJobStatus(), failure_class)

    assert [entry.outcome for entry in status.history] == [outcome]
    assert status.attempts_counted == counted


def test_interruptions_in_a_row_wait_longer_too():
    status, waits = TrainingJobStatus(), []
    for _ in range(3):
        status = ended(status, FailureClass.DISRUPTED)
        waits.append(status.next_attempt_at - NOW)

    assert waits == [timedelta(seconds=seconds) for seconds in (5, 10, 20)]
