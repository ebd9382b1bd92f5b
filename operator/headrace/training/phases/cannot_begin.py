"""What keeps an attempt from beginning: it is told and waited for, until its deadline where it has one (pure)."""

from __future__ import annotations

from datetime import datetime, timedelta

from headrace.api.trainingjob import ConditionStatus, FailureClass, State, TrainingJob, TrainingJobStatus
from headrace.kube.errors import Refused
from headrace.kube.plan import Event, EventType, Plan
from headrace.sentences import listed
from headrace.training import attempt as attempts
from headrace.training.deadline import start_deadline
from headrace.training.failures import Cause
from headrace.training.hints import hint_for
from headrace.training.observed import Job, Pod
from headrace.training.phases.waiting import NO_TIME_LIMIT, unless_told, with_advice
from headrace.training.stages import entrypoints
from headrace.training.states import Reason
from headrace.training.step import POLL_WAITING, Step
from headrace.training.view import Problem, View


def problem_of(view: View) -> Problem | None:
    """What is missing, or None: the script first, then what reconcile has found."""
    return _source_problem(view) or view.start.problem


def _source_problem(view: View) -> Problem | None:
    job, found = view.job, view.observed.source
    source = view.part.source.config_map
    if source is None:
        return None
    if found is None:
        message = f"there is no ConfigMap {source.name!r} in namespace {job.metadata.namespace!r}"
        return Problem(FailureClass.CONFIG, Reason.SOURCE_NOT_FOUND, message)
    if missing := next((script for script in entrypoints(job) if script not in found.files), None):
        files = ", ".join(sorted(found.files)[:10]) or "nothing"
        message = f"{missing!r} is not in ConfigMap {source.name!r}, which holds {files}"
        return Problem(FailureClass.CONFIG, Reason.ENTRYPOINT_NOT_FOUND, message)
    return None


def wait_to_begin(view: View, problem: Problem) -> Step:
    """What is missing may be made a moment after the job: it has until the start deadline."""
    limit = None if problem.patient else start_deadline(view.job.spec, problem.failure_class, problem.message)
    ends = None if limit is None else _waits_since(view.job, view.now) + timedelta(seconds=limit)
    if ends is not None and view.now > ends:
        return fail_to_begin(view, _cause(problem, view.now))
    until = NO_TIME_LIMIT if limit is None else f"the TrainingJob fails if this lasts for {limit} s"
    message = with_advice(view.job, problem.message, problem.reason, until)
    waiting = view.status.evolve(state=State.PENDING, reason=problem.reason, message=message)
    events = unless_told(view.status, waiting, Event(EventType.WARNING, problem.reason, message))
    return Step(Plan(events=events, requeue_after=POLL_WAITING), waiting)


def _waits_since(job: TrainingJob, now: datetime) -> datetime:
    """Since when the next attempt could have begun: not while another ran, nor while the job was suspended."""
    status, attempt = job.status, job.status.attempt
    if status.state is State.SUSPENDED:
        return now
    resumed = next(
        (
            c.last_transition_time
            for c in status.conditions
            if (c.type, c.status) == ("Suspended", ConditionStatus.FALSE)
        ),
        None,
    )
    ends = (attempt.started_at, attempt.finished_at) if attempt else ()
    return max(filter(None, (job.metadata.creation_timestamp, resumed, status.next_attempt_at, *ends)), default=now)


def after_a_refusal(view: View, refusal: Refused) -> Step:
    """The API server did not take an object of the attempt that was to begin."""
    problem = Problem(FailureClass.CONFIG, Reason.REFUSED, str(refusal)[:768])
    return fail_to_begin(view, _cause(problem, view.now)) if refusal.for_good else wait_to_begin(view, problem)


def _cause(problem: Problem, now: datetime) -> Cause:
    return Cause(problem.failure_class, problem.reason, problem.message, now)


def fail_to_begin(view: View, cause: Cause) -> Step:
    """Ends the job before another attempt's pods were made."""
    failed = attempts.end_failed(view.job, view.status, cause, view.now, view.now)
    return Step(Plan(events=(Event(EventType.WARNING, cause.reason, failed.message or ""),)), failed)


def name_in_use(job: TrainingJob, pods: tuple[Pod, ...], batch: Job | None) -> TrainingJobStatus:
    """The status while pods or a Job of this name are there that are not this TrainingJob's."""
    left = [f"pod {pod.name}" for pod in pods]
    if batch is not None and batch.owner_uid != job.metadata.uid:
        left.append(f"Job {batch.name} (uid of its owner: {batch.owner_uid or 'none'})")
    wait = f"waiting until what an earlier TrainingJob of this name left is removed: {listed(left)}"
    message = f"{wait}; {hint_for(job, Reason.NAME_IN_USE)}"
    return job.status.evolve(state=State.PENDING, reason=Reason.NAME_IN_USE, message=message)
