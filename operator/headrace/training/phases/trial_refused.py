"""The API server did not take a trial while others of the job may run: that is told and waited for, until the start
deadline where there is one (pure).
"""

from __future__ import annotations

from datetime import timedelta

from headrace.api.trainingjob import ConditionStatus, FailureClass
from headrace.clock import shown
from headrace.kube.errors import Refused
from headrace.kube.plan import Event, EventType, Plan
from headrace.training.deadline import start_deadline
from headrace.training.failures import Cause
from headrace.training.formats import condition, with_condition
from headrace.training.phases.cannot_begin import fail_to_begin
from headrace.training.phases.waiting import NO_TIME_LIMIT, unless_told, with_advice
from headrace.training.states import Reason
from headrace.training.step import POLL_RUNNING, Step
from headrace.training.tuning.held_back import CREATED, since_when
from headrace.training.view import View


def is_of_a_trial(view: View) -> bool:
    """Whether what was refused is a trial: while the pod of a tuning has its Job, nothing else is created."""
    attempt = view.status.attempt
    is_under_way = attempt is not None and attempt.finished_at is None and attempt.job_uid is not None
    return is_under_way and view.part.tunes is not None


def trial_refused(view: View, refusal: Refused) -> Step:
    """The trials that run go on; the one that was refused is tried again with each look."""
    job, now, words = view.job, view.now, f"a trial cannot be created: {str(refusal)[:640]}"
    limit = start_deadline(job.spec, FailureClass.CONFIG, words)
    ends = None if limit is None else (since_when(view.status, CREATED) or now) + timedelta(seconds=limit)
    if refusal.for_good or (ends is not None and now > ends):
        return fail_to_begin(view, Cause(FailureClass.CONFIG, Reason.REFUSED, words, now))
    until = NO_TIME_LIMIT if ends is None else f"the TrainingJob fails at {shown(ends)} if this lasts"
    told = with_advice(job, words, Reason.REFUSED, until)
    conditions = with_condition(
        view.status.conditions, condition(job, CREATED, ConditionStatus.FALSE, Reason.REFUSED, told, now)
    )
    before = view.status.message or ""
    status = view.status.evolve(conditions=conditions, message=before if told in before else f"{before}; {told}")
    events = unless_told(view.status, status, Event(EventType.WARNING, Reason.REFUSED, told[:1000]))
    return Step(Plan(events=events, requeue_after=POLL_RUNNING), status)
