"""The attempt's Job is over: how it ended is told when no pod can change its record any more (pure)."""

from __future__ import annotations

from headrace.kube.plan import Plan
from headrace.sentences import listed
from headrace.training.failures import all_over, cause_of, pod_cause, without_record
from headrace.training.observed import Job
from headrace.training.phases.failed import failed
from headrace.training.phases.succeeded import succeeded
from headrace.training.states import Reason
from headrace.training.step import POLL_ENDING, Step
from headrace.training.view import View


def ending(view: View, batch: Job) -> Step:
    """Waits for the last pods, then takes the cause, or the record of a success."""
    pods, now = view.pods, view.now
    if not all_over(pods, now):
        left = listed(pod.name for pod in pods if not pod.is_over)
        message = f"the attempt has ended; waiting for its last pods to terminate: {left}"
        return Step(Plan(requeue_after=POLL_ENDING), view.status.evolve(reason=Reason.ENDING, message=message))
    if batch.failed or any(pod_cause(pod, now) is not None for pod in pods):
        return failed(view, cause_of(batch, pods, now))
    chief = view.chief
    if chief is None or chief.record is None:
        return failed(view, without_record(chief, now))
    return succeeded(view, chief.record)
