"""An attempt is in status: where its Job stands decides what comes next (pure)."""

from __future__ import annotations

from headrace.api.trainingjob import State, TrainingJobStatus
from headrace.kube.plan import Plan
from headrace.labels import QUEUE
from headrace.training.failures import all_over, cause_of
from headrace.training.hints import hint_for
from headrace.training.observed import Job
from headrace.training.phases.begin import begin_again
from headrace.training.phases.cannot_begin import name_in_use
from headrace.training.phases.ending import ending
from headrace.training.phases.failed import failed
from headrace.training.phases.running import running
from headrace.training.phases.stopping import suspend, suspended
from headrace.training.phases.succeeded import succeeded
from headrace.training.phases.waiting import NO_TIME_LIMIT
from headrace.training.sidecars import record_of_success
from headrace.training.states import Reason
from headrace.training.step import POLL_ENDING, POLL_RUNNING, POLL_WAITING, Step
from headrace.training.view import View


def during_an_attempt(view: View) -> Step:
    """Its Job is missing, is another's, is over, waits in a queue, has to stop, or runs."""
    attempt, spec = view.status.attempt, view.job.spec
    assert attempt is not None
    batch = view.observed.job(attempt.job)
    if batch is None:
        return _without_job(view)
    if batch.owner_uid != view.job.metadata.uid:
        return Step(Plan(requeue_after=POLL_WAITING), name_in_use(view.job, (), batch))
    view = view.with_status(_take_job(view.status, batch))
    if batch.complete or batch.failed:
        return ending(view, batch)
    is_queued = batch.suspended and batch.started_at is None and not view.pods
    if is_queued and not spec.suspend:
        return _queued(view, batch)
    if spec.suspend or batch.suspended or batch.deleting:
        return suspend(view, batch)
    return running(view, batch)


def _without_job(view: View) -> Step:
    """The Job was not made, or is gone: what its pods have left tells how the attempt ended."""
    attempt, pods, spec = view.status.attempt, view.pods, view.job.spec
    assert attempt is not None
    if not all_over(pods, view.now):
        return Step(Plan(requeue_after=POLL_ENDING), view.status)
    if record := record_of_success(pods, view.part.strategy.workers):
        return succeeded(view, record)
    if attempt.job_uid is None and not pods and not spec.suspend:
        return begin_again(view)
    if spec.suspend:
        return suspended(view)
    return failed(view, cause_of(None, pods, view.now))


def _take_job(status: TrainingJobStatus, batch: Job) -> TrainingJobStatus:
    """The status with what identifies the attempt's Job, and since when the Job counts its time."""
    attempt = status.attempt
    assert attempt is not None
    return status.evolve(
        attempt=attempt.evolve(
            job_uid=attempt.job_uid or batch.uid, active_since=attempt.active_since or batch.started_at
        )
    )


def _queued(view: View, batch: Job) -> Step:
    queue = view.job.metadata.labels.get(QUEUE, "")
    where = f" to queue {queue}" if queue else ""
    hint = hint_for(view.job, Reason.WAITING_FOR_QUOTA)
    message = f"Job {batch.name} is suspended until Kueue admits it{where}; {hint}; {NO_TIME_LIMIT}"
    queued = view.status.evolve(state=State.QUEUED, reason=Reason.WAITING_FOR_QUOTA, message=message)
    return Step(Plan(requeue_after=POLL_RUNNING), queued)
