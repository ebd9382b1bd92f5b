"""The end of an attempt: what it counts, whether there is a next one and when (pure)."""

from __future__ import annotations

from datetime import datetime, timedelta

from headrace.api.trainingjob import (
    AttemptOutcome,
    AttemptRecord,
    Failure,
    FailureClass,
    State,
    TrainingJob,
    TrainingJobStatus,
)
from headrace.training.failures import Cause
from headrace.training.states import Reason, rule_for

MAX_HISTORY = 10
FIRST_BACK_OFF = timedelta(seconds=5)
MAX_BACK_OFF = timedelta(minutes=5)


def back_off(failures_in_a_row: int) -> timedelta:
    """How long the next attempt waits after so many failures in a row: 5 s, doubled each time, at most 5 min."""
    doublings = min(max(failures_in_a_row - 1, 0), 10)
    return min(FIRST_BACK_OFF * (1 << doublings), MAX_BACK_OFF)


def end_failed(job: TrainingJob, status: TrainingJobStatus, cause: Cause, now: datetime) -> TrainingJobStatus:
    """The status after an attempt failed: Restarting with a time for the next one, or Failed."""
    rule = rule_for(cause.failure_class, cause.reason)
    counted = status.attempts_counted + rule.counted
    limit = job.spec.restart_policy.max_restarts
    exhausted = rule.counted and counted > limit
    retryable = rule.retryable and not exhausted
    number = status.attempt.number if status.attempt else 0
    failure = Failure(
        class_=cause.failure_class,
        reason=cause.reason,
        exit_code=cause.exit_code,
        pod=cause.pod or None,
        container="trainer" if cause.pod else None,
        message=cause.message,
        log_tail=cause.log_tail or None,
        attempt=number,
        retryable=retryable,
        hint=cause.advice or None,
    )
    changes = {
        "failure": failure,
        "attempts_counted": counted,
        "history": _history(status, now, AttemptOutcome.FAILED, cause.failure_class, cause.reason, rule.counted),
        "attempt": status.attempt.model_copy(update={"finished_at": now}) if status.attempt else None,
        "workers": (),
    }
    if retryable:
        wait = back_off(_recent_failures(status) + 1)
        return status.model_copy(
            update=changes
            | {
                "state": State.RESTARTING,
                "reason": cause.reason,
                "message": f"attempt {number} ended: {cause.message[:512]}; the next starts in {wait.seconds} s",
                "next_attempt_at": now + wait,
            }
        )
    given_up = f" (gave up after {limit} restarts)" if exhausted else ""
    hint = f"; {cause.advice}" if cause.advice else ""
    return status.model_copy(
        update=changes
        | {
            "state": State.FAILED,
            "reason": cause.reason,
            "message": f"{cause.message[:768]}{given_up}{hint}"[:1024],
            "next_attempt_at": None,
            "completion_time": now,
        }
    )


def end_suspended(status: TrainingJobStatus, reason: str, message: str, now: datetime) -> TrainingJobStatus:
    """The status after suspension ended an attempt: it counts nothing, the next one resumes from its checkpoint."""
    return status.model_copy(
        update={
            "state": State.SUSPENDED if reason == Reason.SUSPENDED_BY_USER else State.QUEUED,
            "reason": reason,
            "message": message,
            "history": _history(status, now, AttemptOutcome.SUSPENDED, FailureClass.DISRUPTED, reason, False),
            "attempt": status.attempt.model_copy(update={"finished_at": now}) if status.attempt else None,
            "workers": (),
            "next_attempt_at": None,
        }
    )


def end_succeeded(status: TrainingJobStatus, now: datetime) -> TrainingJobStatus:
    """The status after an attempt trained to the end."""
    return status.model_copy(
        update={
            "failure": None,
            "history": _history(status, now, AttemptOutcome.SUCCEEDED, None, Reason.TRAINED, False),
            "attempt": status.attempt.model_copy(update={"finished_at": now}) if status.attempt else None,
            "workers": (),
            "next_attempt_at": None,
        }
    )


def _history(
    status: TrainingJobStatus,
    now: datetime,
    outcome: AttemptOutcome,
    failure_class: FailureClass | None,
    reason: str,
    counted: bool,
) -> tuple[AttemptRecord, ...]:
    attempt = status.attempt
    entry = AttemptRecord(
        attempt=attempt.number if attempt else 0,
        job=attempt.job if attempt else None,
        started_at=attempt.started_at if attempt else None,
        finished_at=now,
        outcome=outcome,
        class_=failure_class,
        reason=reason,
        counted=counted,
    )
    return (*status.history, entry)[-MAX_HISTORY:]


def _recent_failures(status: TrainingJobStatus) -> int:
    count = 0
    for entry in reversed(status.history):
        if entry.outcome is not AttemptOutcome.FAILED:
            break
        count += 1
    return count
