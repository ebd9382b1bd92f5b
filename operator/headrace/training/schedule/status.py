"""The status of a TrainingJob with a schedule (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from headrace.api.trainingjob import (
    Columns,
    Schedule,
    ScheduledTraining,
    ScheduleStatus,
    State,
    TrainingJob,
    to_status_dict,
)
from headrace.conditions import Fact, conditions
from headrace.kube.resources import Object
from headrace.sentences import listed
from headrace.training.schedule.objects import End
from headrace.training.schedule.observed import Observed, Run
from headrace.training.states import Reason
from headrace.training.view import Problem

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


def status_of(
    job: TrainingJob,
    schedule: Schedule,
    observed: Observed,
    ends: Mapping[str, End],
    problem: Problem | None,
    now: datetime,
) -> Object:
    """The whole next status. `ends` has the Jobs that are over with this look, `problem` what keeps the CronJob from
    being what is asked for.
    """
    active = tuple(run for run in observed.runs if not run.is_over and run.job.name not in ends)
    under_way = sum(not run.is_held for run in active)
    known = job.status.schedule or ScheduleStatus()
    last = _last(known.last, observed, ends)
    cron_job = observed.cron_job
    found = ScheduleStatus(
        last_schedule_time=cron_job.last_schedule_time if cron_job else known.last_schedule_time,
        last_successful_time=cron_job.last_successful_time if cron_job else known.last_successful_time,
        active=tuple(_of_run(run) for run in active),
        last=last,
    )
    state, reason, message = _said(schedule, active, last, problem, observed.complaint)
    status = job.status.evolve(
        observed_generation=job.metadata.generation,
        state=state,
        reason=reason,
        message=message,
        schedule=found,
        conditions=conditions(
            _facts(schedule, active, last, problem, reason, message),
            job.status.conditions,
            job.metadata.generation,
            now,
        ),
        columns=Columns(
            progress=f"{under_way} training" if under_way else "-",
            metric=last.metric if last else "-",
            model=last.model if last else "-",
            workers="-",
        ),
    )
    return to_status_dict(status)


def _last(known: ScheduledTraining | None, observed: Observed, ends: Mapping[str, End]) -> ScheduledTraining | None:
    """Of those that are still there and the one that was the last one before, which may be deleted."""
    over = [_of_run(run) for run in observed.runs if run.training is not None and run.training.is_over]
    over += [_cut_off(run, ends[run.job.name]) for run in observed.runs if run.job.name in ends and not _has_end(run)]
    names = {training.name for training in over}
    before = [known] if known is not None and known.name not in names else []
    ended = sorted([*before, *over], key=lambda one: one.completion_time or _LONG_AGO)
    return ended[-1] if ended else None


def _has_end(run: Run) -> bool:
    return run.training is not None and run.training.is_over


def _of_run(run: Run) -> ScheduledTraining:
    training = run.training
    if training is None:
        if run.is_held:
            return ScheduledTraining(name=run.job.name, reason=Reason.JOB_SUSPENDED, message=_held(run))
        why = run.refusal.message if run.refusal else ""
        return ScheduledTraining(name=run.job.name, reason=Reason.REFUSED if why else None, message=why or None)
    return ScheduledTraining(
        name=training.name,
        state=training.state.value if training.state else None,
        reason=training.reason or None,
        # Of one under way it would be told anew with every step.
        message=(training.message or None) if training.is_over else None,
        start_time=training.started_at or run.job.started_at,
        completion_time=training.completed_at,
        metric=training.metric if training.is_over else "-",
        model=training.model,
    )


def _cut_off(run: Run, end: End) -> ScheduledTraining:
    return ScheduledTraining(
        name=run.job.name,
        state=State.FAILED.value,
        reason=end.reason,
        message=end.message,
        start_time=run.job.started_at,
        completion_time=end.at.replace(microsecond=0),
    )


def _said(
    schedule: Schedule,
    active: tuple[Run, ...],
    last: ScheduledTraining | None,
    problem: Problem | None,
    complaint: str,
) -> tuple[State, str, str]:
    if problem is not None:
        return State.PENDING, problem.reason, problem.message
    refused = next((run for run in active if run.refusal is not None), None)
    if refused is not None and refused.refusal is not None:
        message = f"TrainingJob {refused.job.name} cannot be created yet, it is tried again: {refused.refusal.message}"
        return State.SCHEDULED, Reason.REFUSED, message
    held = "; ".join(_held(run) for run in active if run.is_held)
    training = [run.job.name for run in active if not run.is_held]
    under_way = f"training: {listed(training)}" if training else ""
    if schedule.suspend:
        parts = ("spec.schedule.suspend is true, so the schedule starts no training", held, under_way)
        return State.SUSPENDED, Reason.SCHEDULE_SUSPENDED, "; ".join(filter(None, parts))
    if held:
        return State.SCHEDULED, Reason.JOB_SUSPENDED, "; ".join(filter(None, (held, under_way)))
    if training:
        return State.SCHEDULED, Reason.TRAINING_ON_SCHEDULE, under_way
    if complaint:
        message = f"it was time to train, and the CronJob could not create its Job, which it tries again: {complaint}"
        return State.SCHEDULED, Reason.JOB_REFUSED, message
    when = f"trains at {schedule.cron} ({schedule.time_zone})"
    return State.SCHEDULED, Reason.WAITING_FOR_SCHEDULE, f"{when}; {_told(last)}"


def _held(run: Run) -> str:
    return (
        f"Job {run.job.name} is suspended, so it has no training: set its spec.suspend to false, make room in the "
        "queue that holds it, or delete it"
    )


def _told(last: ScheduledTraining | None) -> str:
    if last is None:
        return "no training has ended yet"
    return f"the last training, {last.name}, {last.state} ({last.reason})"


def _facts(
    schedule: Schedule,
    active: tuple[Run, ...],
    last: ScheduledTraining | None,
    problem: Problem | None,
    reason: str,
    message: str,
) -> dict[str, Fact]:
    succeeded = None if last is None else last.state == State.SUCCEEDED.value
    is_training = any(not run.is_held for run in active)
    return {
        "Scheduled": (problem is None and not schedule.suspend, reason, message),
        "Progressing": (is_training, reason, message if is_training else "no training is under way"),
        "Suspended": (
            schedule.suspend,
            Reason.SCHEDULE_SUSPENDED if schedule.suspend else Reason.ACCEPTED,
            "spec.schedule.suspend is true" if schedule.suspend else "spec.schedule.suspend is false",
        ),
        "LastTrainingSucceeded": (
            succeeded,
            (last.reason if last else None) or Reason.WAITING_FOR_SCHEDULE,
            _told(last) + (f": {last.message}" if last and last.message else ""),
        ),
    }
