"""What can be wrong with the CronJob of a schedule, and what to do about it (pure)."""

from __future__ import annotations

from headrace.api.trainingjob import FailureClass
from headrace.kube.errors import NotOurs, Refused
from headrace.training.schedule.observed import CronJob
from headrace.training.states import Reason
from headrace.training.view import Problem

MANAGED_BY_MISSING = Problem(
    FailureClass.CONFIG,
    Reason.MANAGED_BY_MISSING,
    "the cluster drops spec.managedBy of Jobs (its feature gate JobManagedBy is off), so it would run the schedule's "
    "Jobs itself: no training is started; turn the gate on in kube-apiserver and kube-controller-manager",
)


def of_refusal(error: Refused, found: CronJob | None) -> Problem:
    """What the API server has against the CronJob, in its words. `found`: the one that is there."""
    kept = ""
    if found is not None:
        held = ", and it is suspended: nothing is trained" if found.spec.get("suspend") else ""
        kept = f"; until then the schedule is still {found.spec['schedule']}{held}"
    reason = Reason.SCHEDULE_INVALID if error.for_good else Reason.REFUSED
    message = f"the API server does not take the schedule's CronJob: {str(error)[:768]}{kept}"
    return Problem(FailureClass.CONFIG, reason, message)


def of_name(error: NotOurs) -> Problem:
    """The CronJob's name is another one's."""
    return Problem(FailureClass.CONFIG, Reason.NAME_IN_USE, str(error))
