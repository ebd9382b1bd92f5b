"""Kubernetes' own parts of a resource, as far as the operator reads them: metadata and conditions."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self, TypedDict, Unpack

from pydantic import Field

from headrace.api.base import Model, Schema
from headrace.api.scalars import Count, Message, Reason, Time


class OwnerReference(Model):
    """Whom an object belongs to."""

    kind: str = ""
    uid: str = ""
    controller: bool = False


class ObjectMeta(Model):
    """Standard object metadata."""

    name: str
    namespace: str = ""
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    creation_timestamp: Time | None = None
    deletion_timestamp: Time | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    owner_references: tuple[OwnerReference, ...] = ()


class ConditionStatus(StrEnum):
    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class ConditionChanges(TypedDict, total=False):
    """The fields of a condition, for its `evolve`."""

    type: Reason
    status: ConditionStatus
    reason: Reason
    message: Message
    observed_generation: Count | None
    last_transition_time: Time


class Condition(Model):
    """One aspect of the resource's state."""

    type: Annotated[Reason, Schema("What the condition is about, in CamelCase.")]
    status: Annotated[ConditionStatus, Schema("Whether it holds.")]
    reason: Annotated[Reason, Schema("Why, as one CamelCase word for programs.", minLength=1)]
    message: Annotated[Message, Schema("Why, and what to do about it, for people.")] = ""
    observed_generation: Annotated[Count | None, Schema("The metadata.generation that the condition speaks of.")] = None
    last_transition_time: Annotated[Time, Schema("When the status of this condition changed last.")]

    def evolve(self, **changes: Unpack[ConditionChanges]) -> Self:
        """The condition with these fields changed."""
        return self.model_copy(update=changes)
