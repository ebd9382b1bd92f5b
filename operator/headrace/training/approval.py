"""A version that waits for a person: who decided what, and what the status says of it (pure).

`finish` registers the version and leaves the alias alone; the job has succeeded, and its status says that it waits.
A decision comes as annotations, which the chart's admission policy lets only those write who may approve, and only
while the version waits. It goes into status first, and counts from then on whatever becomes of the annotations; what
MLflow is told afterwards is in `approving`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from headrace.api.trainingjob import ApprovalState, ModelApproval, State, TrainingJob, TrainingJobStatus
from headrace.kube.plan import Event, EventType, Patch
from headrace.kube.resources import TRAININGJOBS
from headrace.labels import APPROVAL, APPROVAL_BY, APPROVAL_REASON
from headrace.sentences import joined
from headrace.tracking.errors import TrackingError
from headrace.training.states import Reason
from headrace.training.verdict import Verdict

MARKS = (APPROVAL, APPROVAL_BY, APPROVAL_REASON)
MAX_REASON = 1024  # the bound in the schema and in the policy

NOT_ENFORCED = (
    "spec.output.approval.required needs the chart's admission policies, which are off (admission.enabled): without "
    "them anybody who may edit the TrainingJob could approve its model; set admission.enabled=true"
)
# A ModelService that names the version or the job is what waits then.
_NO_ALIAS = "no alias waits with it, since spec.output.alias is not set"


@dataclass(frozen=True)
class Decision:
    """What a person wrote on the job."""

    state: ApprovalState
    by: str
    reason: str


def needs_approval(job: TrainingJob) -> bool:
    """Whether a person is asked."""
    return job.spec.output is not None and job.spec.output.needs_approval


def decision_of(job: TrainingJob) -> Decision | None:
    """What the annotations say; None where they say nothing whole."""
    marks = job.metadata.annotations
    said, by, reason = (" ".join(marks.get(name, "").split()) for name in MARKS)
    if not by or said not in (ApprovalState.APPROVED, ApprovalState.REFUSED):
        return None
    return Decision(ApprovalState(said), by, reason)


def has_marks(job: TrainingJob) -> bool:
    """Whether there is anything of a decision on the job."""
    return any(name in job.metadata.annotations for name in MARKS)


def unmark(job: TrainingJob) -> Patch:
    """Takes off what was written while no policy looked at who wrote it."""
    meta = job.metadata
    gone = {"uid": meta.uid, "annotations": dict.fromkeys(MARKS)}
    return Patch(TRAININGJOBS, meta.namespace, meta.name, {"metadata": gone})


def approval_of(status: TrainingJobStatus) -> ModelApproval | None:
    """What is known of the approval, in a job that has succeeded."""
    return status.model.approval if status.state is State.SUCCEEDED and status.model is not None else None


def is_awaiting(status: TrainingJobStatus) -> bool:
    """Whether there is a version that a person has to decide of."""
    approval = approval_of(status)
    return approval is not None and approval.state is ApprovalState.AWAITING


def is_unrecorded(status: TrainingJobStatus) -> bool:
    """Whether MLflow has to be told of a decision."""
    approval = approval_of(status)
    return approval is not None and approval.state is not ApprovalState.AWAITING and not approval.recorded


def awaiting(job: TrainingJob, registered: Verdict, alias_owner: str = "") -> Verdict:
    """The version is registered, and waits. `alias_owner` (`NAMESPACE/NAME`) is the ModelService whose promotion alias
    spec.output.alias is, empty where it is none's.
    """
    status = registered.status
    assert status.model is not None
    approval = ModelApproval(alias_reserved_by=alias_owner or None)
    message = joined(f"{status.message}; it waits for an approval{_of_alias(job, approval)}", _how(job))
    waits = status.evolve(
        reason=Reason.AWAITING_APPROVAL, message=message, model=status.model.evolve(approval=approval)
    )
    return Verdict(waits, Event(registered.event.type, Reason.AWAITING_APPROVAL, message))


def waiting_again(job: TrainingJob) -> TrainingJobStatus:
    """The policy is in force again, after it was off for a time."""
    approval = approval_of(job.status)
    assert approval is not None
    message = joined(f"{_version(job)} waits for an approval{_of_alias(job, approval)}", _how(job))
    return job.status.evolve(reason=Reason.AWAITING_APPROVAL, message=message)


def unenforced(job: TrainingJob) -> TrainingJobStatus:
    """No decision counts for now."""
    message = f"{_version(job)} waits for an approval; {NOT_ENFORCED}"
    return job.status.evolve(reason=Reason.APPROVAL_NOT_ENFORCED, message=message)


UNTRUSTED = Event(
    EventType.WARNING,
    Reason.APPROVAL_NOT_ENFORCED,
    "an approval on the TrainingJob was removed: it was written while no admission policy checked who may approve. "
    "Approve again once the version waits for it",
)


def taken(job: TrainingJob, decision: Decision, now: datetime) -> TrainingJobStatus:
    """The decision is in status: nothing that is written on the job later changes it."""
    status, waiting = job.status, approval_of(job.status)
    assert status.model is not None
    assert waiting is not None
    approval = waiting.evolve(
        state=decision.state, by=decision.by, at=now.replace(microsecond=0), reason=decision.reason or None
    )
    status = status.evolve(model=status.model.evolve(approval=approval))
    return status.evolve(reason=_reason(approval), message=f"{sentence(approval)}; MLflow is not told yet")


def untold(status: TrainingJobStatus, error: TrackingError) -> TrainingJobStatus:
    """MLflow cannot be told now."""
    approval = approval_of(status)
    assert approval is not None
    return status.evolve(
        message=joined(f"{sentence(approval)}; MLflow is not told yet: {error}", "tried again by itself")
    )


def decided(job: TrainingJob, problem: TrackingError | None) -> Verdict:
    """MLflow knows; `problem` is why the alias was not to be had, or the version is not there any more."""
    status, output = job.status, job.spec.output
    approval = approval_of(status)
    assert approval is not None
    assert status.model is not None
    assert output is not None
    alias, approved = output.alias, approval.state is ApprovalState.APPROVED
    pointed = alias if approved and problem is None else None
    tail = "" if alias is None else f", alias {alias} stays where it was"
    if pointed:
        tail = f", alias {pointed} points at it"
    message = f"{sentence(approval)}: {_version(job)}{tail}" + (f"; {problem}" if problem else "")
    told = status.evolve(
        reason=problem.reason if problem else _reason(approval),
        message=message,
        model=status.model.evolve(alias=pointed, approval=approval.evolve(recorded=True)),
    )
    return Verdict(told, Event(EventType.WARNING if problem else EventType.NORMAL, _reason(approval), message))


def condition(status: TrainingJobStatus) -> tuple[bool | None, str, str] | None:
    """Of condition Approved: whether it holds (None: not known yet), reason and message. Absent where none is asked."""
    approval = approval_of(status)
    if approval is None:
        return None
    if approval.state is ApprovalState.AWAITING:
        return None, status.reason or Reason.AWAITING_APPROVAL, status.message or ""
    holds = approval.state is ApprovalState.APPROVED
    return (holds if approval.recorded else None), _reason(approval), sentence(approval)


def ended_at(status: TrainingJobStatus) -> datetime | None:
    """When nothing was left to do: a time to live begins with the decision, where there was one."""
    approval = approval_of(status)
    return approval.at if approval is not None else status.completion_time


def sentence(approval: ModelApproval) -> str:
    """Who decided what, and why."""
    why = f" ({approval.reason})" if approval.reason else ""
    return f"{approval.state.lower()} by {approval.by}{why}"


def reserved_alias(alias: str, owner: str) -> str:
    """What an approval does of an alias that only the rollouts of a ModelService move."""
    return (
        f"alias {alias} stays: it is the promotion alias of ModelService {owner}, and only its rollouts move it; once "
        "the version is approved, point the alias that this ModelService follows at it, in MLflow"
    )


def _of_alias(job: TrainingJob, approval: ModelApproval) -> str:
    """What is known of the alias before anybody decides."""
    alias = job.spec.output.alias if job.spec.output is not None else None
    if alias is None:
        return f"; {_NO_ALIAS}"
    owner = approval.alias_reserved_by
    return f"; {reserved_alias(alias, owner)}" if owner else ""


def _reason(approval: ModelApproval) -> str:
    return Reason.APPROVED if approval.state is ApprovalState.APPROVED else Reason.APPROVAL_REFUSED


def _version(job: TrainingJob) -> str:
    model = job.status.model
    assert model is not None
    return f"version {model.version} of model {model.name}"


def _how(job: TrainingJob) -> str:
    name, ttl = f"{job.metadata.name} -n {job.metadata.namespace}", job.spec.ttl_seconds_after_finished
    hint = f"kubectl headrace approve {name}, or kubectl headrace refuse {name} --reason TEXT"
    return hint if ttl is None else f"{hint}; ttlSecondsAfterFinished counts from the decision"
