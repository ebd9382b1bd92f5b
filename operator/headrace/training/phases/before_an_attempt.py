"""No attempt is under way: may the next one begin, and if not, what does the job wait for? (pure)"""

from __future__ import annotations

from dataclasses import replace

from headrace.api.trainingjob import FailureClass, State
from headrace.kube.plan import Plan
from headrace.sentences import listed
from headrace.training.deadline import remaining_seconds
from headrace.training.failures import Cause, all_over
from headrace.training.job import attempt_name
from headrace.training.phases.begin import begin
from headrace.training.phases.cannot_begin import fail_to_begin, name_in_use, problem_of, wait_to_begin
from headrace.training.release import release
from headrace.training.states import Reason
from headrace.training.step import POLL_ENDING, Step
from headrace.training.view import View


def before_an_attempt(view: View) -> Step:
    """Waits for what is in the way of the next attempt, and begins it; meanwhile pods that are over are let go."""
    status, observed, metadata = view.status, view.observed, view.job.metadata
    patches = release(metadata.namespace, (*observed.pods, *observed.strangers), view.now)
    if view.job.spec.suspend:
        suspended = status.evolve(
            state=State.SUSPENDED,
            reason=Reason.SUSPENDED_BY_USER,
            message="suspended because spec.suspend is true; set it to false to continue",
        )
        return Step(Plan(patches=patches), suspended)
    if status.next_attempt_at is not None and view.now < status.next_attempt_at:
        left = (status.next_attempt_at - view.now).total_seconds()
        return Step(Plan(patches=patches, requeue_after=max(left, 0.05)), status)
    if not all_over(observed.pods, view.now):
        # Two attempts at once would write over each other; the old pods are let go first.
        pods = listed(pod.name for pod in observed.pods if not pod.is_over)
        waiting = status.evolve(message=f"waiting for pods of the last attempt to terminate: {pods}")
        return Step(Plan(patches=patches, requeue_after=POLL_ENDING), waiting)
    taken = observed.job(attempt_name(metadata.name, (status.attempt.number if status.attempt else 0) + 1))
    if observed.strangers or (taken is not None and taken.owner_uid != metadata.uid):
        in_use = name_in_use(view.job, observed.strangers, taken)
        return Step(Plan(patches=patches, requeue_after=POLL_ENDING), in_use)
    step = _wait_or_begin(view)
    return replace(step, plan=replace(step.plan, patches=patches))


def _wait_or_begin(view: View) -> Step:
    remaining = remaining_seconds(view.job)
    if remaining is not None and remaining <= 0:
        message = f"the attempts have used up activeDeadlineSeconds ({view.job.spec.active_deadline_seconds} s)"
        return fail_to_begin(view, Cause(FailureClass.DEADLINE, Reason.DEADLINE_EXCEEDED, message, view.now))
    if problem := problem_of(view):
        return wait_to_begin(view, problem)
    return begin(view)
