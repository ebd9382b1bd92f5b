"""Plans one pass over a TrainingJob: from spec, status and what the cluster shows to the next status and acts (pure).

The flow of a TrainingJob reads from top to bottom in `_step`: over -> not started -> under way; each phase is a module
of `phases`. Invariants: the attempt is written into status before its Job is created (a killed operator finds its way
from there); a cause is taken only when no pod of the attempt can still change its record; pods are released after their
record is in status; only ended attempts' time counts against the deadline, which the Job of the one under way keeps by
itself.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from headrace.api.trainingjob import Run, State, TrainingJob, TrainingJobStatus
from headrace.kube.errors import Refused
from headrace.kube.plan import Event, EventType, Plan
from headrace.settings import Settings
from headrace.training.approval import is_awaiting
from headrace.training.divergence import HINT, divergence
from headrace.training.objects import jobs_of_old
from headrace.training.observed import Observed
from headrace.training.phases.after_the_end import after_the_end, being_deleted
from headrace.training.phases.awaiting_approval import awaiting_approval
from headrace.training.phases.before_an_attempt import before_an_attempt
from headrace.training.phases.cannot_begin import after_a_refusal
from headrace.training.phases.during_an_attempt import during_an_attempt
from headrace.training.phases.trial_refused import is_of_a_trial, trial_refused
from headrace.training.states import FINAL_STATES
from headrace.training.status import finish_status, numbers
from headrace.training.step import Step
from headrace.training.tuning.acts import with_acts
from headrace.training.tuning.outcome import settled
from headrace.training.view import Start, View


def plan(job: TrainingJob, observed: Observed, start: Start, now: datetime, settings: Settings) -> Plan:
    """The next pass. `start` matters only when an attempt begins, or has made a dataset."""
    view = View(job, observed, start, now, settings)
    return _complete(view, with_acts(view, _step(view)))


def after_refusal(job: TrainingJob, refusal: Refused, now: datetime, settings: Settings) -> Plan:
    """The next pass after the API server did not take an object of the attempt that was to begin, or a trial."""
    view = View(job, Observed(jobs=(), pods=(), source=None), Start(), now, settings)
    step = trial_refused(view, refusal) if is_of_a_trial(view) else after_a_refusal(view, refusal)
    return _complete(view, step)


def _step(view: View) -> Step:
    status = view.status
    if view.job.metadata.deletion_timestamp is not None:
        return being_deleted(view)
    if is_awaiting(status):
        return awaiting_approval(view)
    if status.state in FINAL_STATES or status.state == State.FINISHING:
        return after_the_end(view)
    if status.attempt is None or status.attempt.finished_at is not None:
        return before_an_attempt(view)
    return during_an_attempt(view)


def _complete(view: View, step: Step) -> Plan:
    """The step as a plan, with what holds in every phase."""
    if step.status is None:
        return step.plan
    reached = settled(step.status) if step.status.state in FINAL_STATES else step.status
    status = finish_status(view.job, _with_run_url(reached, view.settings), view.now)
    old = jobs_of_old(view, step.status.attempt) if step.status.attempt is not None else ()
    events = (*step.plan.events, *_diverged(view.status, step.status))
    return replace(step.plan, status=status, deletes=(*step.plan.deletes, *old), events=events)


def _diverged(before: TrainingJobStatus, after: TrainingJobStatus) -> tuple[Event, ...]:
    diverged = divergence(numbers(after))
    if not diverged or divergence(numbers(before)):
        return ()
    return (Event(EventType.WARNING, "Diverged", f"{diverged}: the training has diverged; {HINT}"),)


def _with_run_url(status: TrainingJobStatus, settings: Settings) -> TrainingJobStatus:
    stages = tuple(stage.evolve(run=_with_url(stage.run, settings)) for stage in status.stages)
    return status.evolve(run=_with_url(status.run, settings), stages=stages)


def _with_url(run: Run | None, settings: Settings) -> Run | None:
    if run is None or not run.id or run.url is not None or settings.tracking is None:
        return run
    return run.evolve(url=f"{settings.tracking.public_url}/#/experiments/{run.experiment_id}/runs/{run.id}")
