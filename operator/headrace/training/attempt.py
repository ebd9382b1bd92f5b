"""The end of an attempt: what it counts, whether there is a next one and when (pure)."""

from __future__ import annotations

from dataclasses import replace
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
from headrace.clock import shown
from headrace.sentences import joined
from headrace.training.failures import Cause
from headrace.training.hints import addressed, exact_hint
from headrace.training.observed import TRAINER_CONTAINER
from headrace.training.stages import part_of
from headrace.training.states import Reason, rule_for

MAX_HISTORY = 10
FIRST_BACK_OFF = timedelta(seconds=5)
MAX_BACK_OFF = timedelta(minutes=5)


def back_off(failures_in_a_row: int) -> timedelta:
    """How long the next attempt waits after so many failures in a row: 5 s, doubled each time, at most 5 min."""
    doublings = min(max(failures_in_a_row - 1, 0), 10)
    return min(FIRST_BACK_OFF * (1 << doublings), MAX_BACK_OFF)


def end_failed(
    job: TrainingJob, status: TrainingJobStatus, cause: Cause, ended: datetime, now: datetime
) -> TrainingJobStatus:
    """The status after an attempt failed, or could not begin: Restarting with a time for the next one, or Failed.
    `ended` is when its last pod did, which may be long before it is seen.
    """
    cause = replace(cause, message=part_of(job).says(cause.message))
    rule = rule_for(cause.failure_class, cause.reason)
    counted = status.attempts_counted + rule.counted
    limit = job.spec.restart_policy.max_restarts
    exhausted = rule.counted and counted > limit
    retryable = rule.retryable and not exhausted
    number = status.attempt.number if status.attempt else 0
    container = cause.container or (TRAINER_CONTAINER if cause.pod else "")
    advice = exact_hint(job, cause.reason, cause.message) or cause.advice
    hint = addressed(job, advice, pod=cause.pod, container=container)
    failure = Failure(
        class_=cause.failure_class,
        reason=cause.reason,
        exit_code=cause.exit_code,
        pod=cause.pod or None,
        container=container or None,
        message=cause.message,
        log_tail=cause.log_tail or None,
        attempt=number,
        retryable=retryable,
        hint=hint or None,
    )
    outcome = AttemptOutcome.INTERRUPTED if cause.failure_class is FailureClass.DISRUPTED else AttemptOutcome.FAILED
    closed = _closed(status, ended, outcome, cause.failure_class, cause.reason, rule.counted)
    closed = closed.evolve(failure=failure, attempts_counted=counted)
    if retryable:
        wait = back_off(_recent_failures(status) + 1)
        return closed.evolve(
            state=State.RESTARTING,
            reason=cause.reason,
            message=f"attempt {number} ended: {cause.message[:512]}; the next one starts at {shown(now + wait)}",
            next_attempt_at=now + wait,
        )
    given_up = f"; no attempt is left after {limit} restarts (restartPolicy.maxRestarts)" if exhausted else ""
    return closed.evolve(
        state=State.FAILED,
        reason=cause.reason,
        message=joined(f"{cause.message[:768].removesuffix('.')}{given_up}", hint)[:1024],
        next_attempt_at=None,
        completion_time=now,
    )


def end_suspended(status: TrainingJobStatus, reason: str, message: str, ended: datetime) -> TrainingJobStatus:
    """The status after suspension ended an attempt: it counts nothing, the next one resumes from its checkpoint."""
    closed = _closed(status, ended, AttemptOutcome.SUSPENDED, FailureClass.DISRUPTED, reason, False)
    return closed.evolve(
        state=State.SUSPENDED if reason == Reason.SUSPENDED_BY_USER else State.QUEUED,
        reason=reason,
        message=message,
        next_attempt_at=None,
    )


def end_succeeded(status: TrainingJobStatus, reason: str, ended: datetime) -> TrainingJobStatus:
    """The status after an attempt did what its stage is for."""
    closed = _closed(status, ended, AttemptOutcome.SUCCEEDED, None, reason, False)
    return closed.evolve(failure=None, next_attempt_at=None)


def _closed(
    status: TrainingJobStatus,
    ended: datetime,
    outcome: AttemptOutcome,
    failure_class: FailureClass | None,
    reason: str,
    counted: bool,
) -> TrainingJobStatus:
    """The status without an attempt under way; an attempt ends once, whatever keeps the next one from beginning."""
    attempt = status.attempt
    if attempt is None or attempt.finished_at is not None:
        return status.evolve(workers=())
    entry = AttemptRecord(
        attempt=attempt.number,
        stage=attempt.stage,
        job=attempt.job,
        started_at=attempt.started_at,
        finished_at=ended,
        outcome=outcome,
        class_=failure_class,
        reason=reason,
        counted=counted,
    )
    return status.evolve(
        history=(*status.history, entry)[-MAX_HISTORY:],
        attempt=attempt.evolve(finished_at=ended),
        active_seconds=(status.active_seconds or 0) + _seconds_between(attempt.active_since, ended),
        workers=(),
    )


def _seconds_between(begin: datetime | None, end: datetime) -> int:
    """Whole seconds; 0 for what never began, or began in the future of another machine's clock."""
    return max(int((end - begin).total_seconds()), 0) if begin is not None else 0


def _recent_failures(status: TrainingJobStatus) -> int:
    count = 0
    for entry in reversed(status.history):
        if entry.outcome not in (AttemptOutcome.FAILED, AttemptOutcome.INTERRUPTED):
            break
        count += 1
    return count


def failure_of_model(
    status: TrainingJobStatus, failure_class: FailureClass, reason: str, message: str, hint: str
) -> Failure:
    """Why the model of an attempt that ended well does not become a version."""
    number = status.attempt.number if status.attempt else None
    return Failure(class_=failure_class, reason=reason, message=message, attempt=number, hint=hint)
