"""The training is over, and its version waits for a person (pure). Nothing of it waits in the cluster: no pods, no
attempts; only the job stays, whatever its time to live.
"""

from __future__ import annotations

from headrace.kube.plan import Plan
from headrace.training.approval import UNTRUSTED, decision_of, has_marks, taken, unenforced, unmark, waiting_again
from headrace.training.release import release
from headrace.training.states import Reason
from headrace.training.step import POLL_ENDING, Step
from headrace.training.view import View


def awaiting_approval(view: View) -> Step:
    """Takes a decision into status; the next pass tells MLflow. Without the policy none counts: it may be anybody's."""
    job, pods = view.job, view.observed.pods
    patches = release(job.metadata.namespace, pods, view.now)
    requeue = POLL_ENDING if any(pod.held for pod in pods) else None
    if not view.settings.approvals_enforced:
        marked = has_marks(job)
        untrusted = Plan(
            patches=(*patches, unmark(job)) if marked else patches,
            events=(UNTRUSTED,) if marked else (),
            requeue_after=requeue,
        )
        return Step(untrusted, unenforced(job))
    decision = decision_of(job)
    if decision is not None:
        return Step(Plan(patches=patches, requeue_after=POLL_ENDING), taken(job, decision, view.now))
    waits = job.status if job.status.reason != Reason.APPROVAL_NOT_ENFORCED else waiting_again(job)
    return Step(Plan(patches=patches, requeue_after=requeue), waits)
