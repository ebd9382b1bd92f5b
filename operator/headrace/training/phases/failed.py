"""An attempt has failed: it is ended with its cause, and the rule of that says whether there is a next one (pure)."""

from __future__ import annotations

from headrace.api.trainingjob import State
from headrace.kube.plan import Delete, Event, EventType, Plan
from headrace.kube.resources import JOBS
from headrace.training import attempt as attempts
from headrace.training.failures import Cause
from headrace.training.observed import Job, ended_at
from headrace.training.release import release
from headrace.training.status import take_chief_record
from headrace.training.step import POLL_ENDING, Step
from headrace.training.view import View


def failed(view: View, cause: Cause, still_alive: Job | None = None) -> Step:
    """Ends the attempt. Its Job is deleted where it is `still_alive`."""
    pods, namespace = view.pods, view.job.metadata.namespace
    taken = take_chief_record(view.status, pods)
    status = attempts.end_failed(view.job, taken, cause, ended_at(pods, view.now), view.now)
    deletes = (Delete(JOBS, namespace, still_alive.name, still_alive.uid),) if still_alive else ()
    reason = "AttemptFailed" if status.state == State.RESTARTING else "Failed"
    event = Event(EventType.WARNING, reason, f"{cause.failure_class.value}/{cause.reason}: {status.message}"[:1000])
    patches = release(namespace, pods, view.now)
    return Step(Plan(deletes=deletes, patches=patches, events=(event,), requeue_after=POLL_ENDING), status)
