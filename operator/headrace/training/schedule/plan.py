"""Plans one look at a TrainingJob with a schedule: how its Jobs stand, which have ended, its status (pure).

Kubernetes' CronJob makes a Job at each time; the operator makes a TrainingJob for it, tells the Job that it has begun,
and when the training is over how it ended. So what a CronJob does with its Jobs (one at a time, the history, times that
were missed) holds for trainings.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from headrace.api.trainingjob import Schedule, State, TrainingJob
from headrace.kube.plan import Event, EventType, Plan
from headrace.training.schedule.objects import End, begun, ended
from headrace.training.schedule.observed import Observed, Run
from headrace.training.schedule.status import status_of
from headrace.training.states import Reason
from headrace.training.view import Problem

# Nobody tells of a change in a training: while there are some they are looked at this often, in seconds.
POLL_TRAINING = 10.0
POLL_PROBLEM = 60.0


def to_begin(observed: Observed, schedule: Schedule, now: datetime) -> tuple[Run, ...]:
    """The Jobs that have no training yet and are to have one."""
    return tuple(
        run
        for run in observed.runs
        if not (run.is_over or run.job.deleting or run.job.suspended)
        and run.training is None
        and run.job.started_at is None
        and not _is_late(run, schedule, now)
    )


def plan(job: TrainingJob, schedule: Schedule, observed: Observed, problem: Problem | None, now: datetime) -> Plan:
    """The next look, when the trainings that could be made have been. `problem`: what is wrong with the CronJob."""
    namespace = job.metadata.namespace
    open_runs = [run for run in observed.runs if not (run.is_over or run.job.deleting)]
    ends = {run.job.name: end for run in open_runs if (end := _end(run, schedule, now)) is not None}
    begins = [run for run in open_runs if run.training is not None and run.job.started_at is None]
    patches = [ended(namespace, run, ends[run.job.name]) for run in open_runs if run.job.name in ends]
    patches += [begun(namespace, run, now) for run in begins if run.job.name not in ends]
    events = [*(_began(run) for run in begins), *(_ended(name, end) for name, end in ends.items())]
    status = status_of(job, schedule, observed, ends, problem, now)
    if problem is not None and problem.message != job.status.message:
        events.append(Event(EventType.WARNING, problem.reason, problem.message))
    is_active = len(ends) < len(open_runs)
    is_in_trouble = problem is not None or bool(observed.complaint)
    again = POLL_TRAINING if is_active else POLL_PROBLEM if is_in_trouble else None
    return Plan(status=status, patches=tuple(patches), events=tuple(events), requeue_after=again)


def _is_late(run: Run, schedule: Schedule, now: datetime) -> bool:
    seconds = schedule.starting_deadline_seconds
    if seconds is None or run.made_at is None:
        return False
    return now > run.made_at + timedelta(seconds=seconds)


def _end(run: Run, schedule: Schedule, now: datetime) -> End | None:
    """How a Job that is not over has ended; None while it has not."""
    training = run.training
    if training is not None:
        if not training.is_over:
            return None
        succeeded = training.state is State.SUCCEEDED
        return End(succeeded, training.reason or training.state or "", training.message, training.completed_at or now)
    if run.job.started_at is not None:
        message = f"TrainingJob {run.job.name} was deleted before it ended"
        return End(False, Reason.TRAINING_DELETED, message, now)
    if run.refusal is not None and run.refusal.for_good:
        return End(False, Reason.REFUSED, f"TrainingJob {run.job.name} cannot be created: {run.refusal.message}", now)
    if _is_late(run, schedule, now):
        message = (
            f"not started within {schedule.starting_deadline_seconds} s (spec.schedule.startingDeadlineSeconds): the "
            f"operator was away, or {run.refusal.message if run.refusal else 'the Job was suspended'}"
        )
        return End(False, Reason.START_DEADLINE_EXCEEDED, message, now)
    return None


def _began(run: Run) -> Event:
    return Event(EventType.NORMAL, "TrainingStarted", f"TrainingJob {run.job.name} was created on schedule")


def _ended(name: str, end: End) -> Event:
    kind = EventType.NORMAL if end.succeeded else EventType.WARNING
    how = "succeeded" if end.succeeded else "failed"
    return Event(kind, "TrainingEnded", f"TrainingJob {name} {how} ({end.reason}): {end.message}"[:1000])
