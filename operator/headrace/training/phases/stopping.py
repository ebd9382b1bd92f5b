"""An attempt is stopped before its end: its Job goes first, and once the pods are over the attempt has ended (pure)."""

from __future__ import annotations

from headrace.api.trainingjob import Stage
from headrace.kube.plan import Delete, Event, EventType, Plan
from headrace.kube.resources import JOBS
from headrace.training import attempt as attempts
from headrace.training.observed import Job, ended_at
from headrace.training.release import release
from headrace.training.states import Reason
from headrace.training.status import take_chief_record
from headrace.training.step import POLL_ENDING, Step
from headrace.training.view import View

# What comes of spec.suspend: false, where it is something else than for a script.
_FOLLOWS = {Stage.TUNE: "continue the trials"}


def stop(view: View, batch: Job, message: str, *events: Event) -> Step:
    """Ends the attempt's Job; what comes of the attempt is seen when the Job is gone and its pods are over."""
    deletes = () if batch.deleting else (Delete(JOBS, view.job.metadata.namespace, batch.name, batch.uid),)
    ending = view.status.evolve(reason=Reason.ENDING, message=message)
    return Step(Plan(deletes=deletes, events=events, requeue_after=POLL_ENDING), ending)


def suspend(view: View, batch: Job) -> Step:
    """The user, a queue or whoever deletes the Job wants the attempt to stop."""
    if view.job.spec.suspend:
        why = "spec.suspend is true"
    elif batch.suspended:
        why = f"Job {batch.name} was suspended, by Kueue or by hand"
    else:
        why = f"Job {batch.name} is being deleted"
    until = "write a last checkpoint and terminate" if view.part.checkpoints else "terminate"
    return stop(view, batch, f"{why}; waiting for the pods to {until}")


def suspended(view: View) -> Step:
    """The pods of a job that the user has suspended are over."""
    status, pods = view.status, view.pods
    follows = _FOLLOWS.get(
        view.part.stage, "evaluate anew" if not view.part.checkpoints else "resume from the last checkpoint"
    )
    message = f"suspended because spec.suspend is true; set it to false to {follows}"
    taken = take_chief_record(status, pods)
    ended = attempts.end_suspended(taken, Reason.SUSPENDED_BY_USER, message, ended_at(pods, view.now))
    number = status.attempt.number if status.attempt else 0
    event = Event(EventType.NORMAL, "Suspended", f"attempt {number} was stopped: {message}")
    patches = release(view.job.metadata.namespace, pods, view.now)
    return Step(Plan(patches=patches, events=(event,), requeue_after=POLL_ENDING), ended)
