"""What MLflow is told of a decision on a version, once status has it: each act safe to repeat after a kill.

What is decided and what the status says is in `approval`.
"""

from __future__ import annotations

from headrace.api.scalars import format_time
from headrace.api.trainingjob import ApprovalState, ModelApproval, Stage, TrainingJob
from headrace.markdown import as_text
from headrace.tracking.errors import AliasReserved, NotFound, TrackingError
from headrace.tracking.ledger import Ledger
from headrace.tracking.records import APPROVAL_AT_TAG, APPROVAL_BY_TAG, APPROVAL_REASON_TAG, APPROVAL_TAG
from headrace.training.approval import approval_of, needs_approval


async def record_decision(job: TrainingJob, ledger: Ledger) -> TrackingError | None:
    """Tags and description of the version, the card that its evaluation's run shows, and of an approved one the alias;
    what a person has to know of it, if there is anything. Raises a TrackingError where it is to be tried again.
    """
    model, output, approval = job.status.model, job.spec.output, approval_of(job.status)
    assert model is not None
    assert output is not None
    assert approval is not None
    name, version = model.name or "", model.version or ""
    try:
        # The tags first: who follows the alias finds an approved version.
        await ledger.tag_version(name, version, tags_of(approval))
        await ledger.describe_version(name, version, paragraph(approval))
        if (run := _card_run(job)) is not None:
            await ledger.describe_run(run, paragraph(approval))
        if approval.state is ApprovalState.APPROVED and output.alias is not None:
            await ledger.point_alias(name, output.alias, version)
    except (AliasReserved, NotFound) as error:
        return error
    return None


def _card_run(job: TrainingJob) -> str | None:
    """The run whose description is the model's card."""
    evaluations = (stage for stage in job.status.stages if stage.name is Stage.EVALUATE)
    return next((stage.run.id for stage in evaluations if stage.run is not None), None)


def marks(job: TrainingJob) -> dict[str, str]:
    """The tags that a version has from its first moment."""
    return {APPROVAL_TAG: ApprovalState.AWAITING.value} if needs_approval(job) else {}


def tags_of(approval: ModelApproval) -> dict[str, str]:
    """The decision as tags of the version; one without a reason has none."""
    said = {
        APPROVAL_TAG: approval.state.value,
        APPROVAL_BY_TAG: approval.by,
        APPROVAL_AT_TAG: format_time(approval.at) if approval.at else None,
        APPROVAL_REASON_TAG: approval.reason,
    }
    return {name: value for name, value in said.items() if value}


def paragraph(approval: ModelApproval) -> str:
    """The decision in the version's description."""
    at = f" at {format_time(approval.at)}" if approval.at else ""
    why = f": {as_text(approval.reason)}" if approval.reason else ""
    return f"{approval.state.value} by {as_text(approval.by or '')}{at}{why}"
