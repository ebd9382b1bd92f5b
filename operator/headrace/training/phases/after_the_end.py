"""Nothing begins any more: the job is over, or is being registered, or deleted; its last pods are let go (pure)."""

from __future__ import annotations

from datetime import timedelta

from headrace.kube.plan import Delete, Plan
from headrace.kube.resources import TRAININGJOBS
from headrace.training.approval import ended_at
from headrace.training.release import release
from headrace.training.states import FINAL_STATES
from headrace.training.step import POLL_ENDING, Step
from headrace.training.view import View


def being_deleted(view: View) -> Step:
    """Lets the pods go as they end; the status is nobody's business any more."""
    pods = view.observed.pods
    patches = release(view.job.metadata.namespace, pods, view.now)
    return Step(Plan(patches=patches, requeue_after=POLL_ENDING if pods else None))


def after_the_end(view: View) -> Step:
    """Keeps the last pods for their logs, lets go of those that are held, deletes the job when its time is over."""
    status, metadata, pods = view.status, view.job.metadata, view.observed.pods
    patches = release(metadata.namespace, pods, view.now)
    requeue = POLL_ENDING if any(pod.held for pod in pods) else None
    ttl = view.job.spec.ttl_seconds_after_finished
    ended = ended_at(status)
    if ttl is not None and ended is not None and status.state in FINAL_STATES:
        left = (ended + timedelta(seconds=ttl) - view.now).total_seconds()
        if left <= 0 and requeue is None:
            return Step(Plan(deletes=(Delete(TRAININGJOBS, metadata.namespace, metadata.name, metadata.uid),)))
        requeue = requeue if requeue is not None else left
    return Step(Plan(patches=patches, requeue_after=requeue), status)
