"""What status promises the registry: tags of outcomes, the promotion alias. Each act may be repeated."""

from __future__ import annotations

from contextlib import suppress

from headrace.api.modelservice import ModelService, ModelServiceStatus
from headrace.kube.plan import Event, EventType
from headrace.tracking.errors import NotFound
from headrace.tracking.ledger import Ledger
from headrace.tracking.records import DIFFERENCE_TAG, REASON_TAG, ROLLOUT_TAG


def has_promises(status: ModelServiceStatus) -> bool:
    """Whether the registry is still to be told something."""
    return bool(status.pending_outcomes) or (
        status.promotion is not None and status.promotion.pending_version is not None
    )


async def keep(service: ModelService, ledger: Ledger) -> tuple[ModelServiceStatus, tuple[Event, ...]]:
    """The status without them, and what happened. Raises TrackingError where the registry is away or refuses."""
    status, name = service.status, _model_of(service)
    for entry in status.pending_outcomes:  # before the alias: it may wait for a person
        with suppress(NotFound):  # a version that somebody deleted needs no tag
            differs = {DIFFERENCE_TAG: entry.difference} if entry.difference else {}
            outcome = {ROLLOUT_TAG: entry.outcome.value, REASON_TAG: entry.reason}
            await ledger.tag_version(name, entry.version, outcome | differs)
    events: tuple[Event, ...] = ()
    promotion = status.promotion
    if promotion is not None and promotion.pending_version is not None:
        owner = f"{service.metadata.namespace}/{service.metadata.name}"
        await ledger.claim_alias(name, promotion.alias, owner)
        await ledger.move_alias(name, promotion.alias, promotion.pending_version, promotion.expected_version)
        message = f"alias {promotion.alias} of {name} points at version {promotion.pending_version}"
        events = (Event(EventType.NORMAL, "AliasMoved", message),)
        promotion = promotion.model_copy(
            update={"expected_version": promotion.pending_version, "pending_version": None}
        )
    return status.model_copy(update={"pending_outcomes": (), "promotion": promotion}), events


def _model_of(service: ModelService) -> str:
    for revision in (service.status.stable, service.status.canary):
        if revision is not None and revision.model is not None and revision.model.name:
            return revision.model.name
    return ""
