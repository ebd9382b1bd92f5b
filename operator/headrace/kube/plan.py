"""What a reconcile wants done: the value that the pure planners return and that `apply` makes so."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, NamedTuple, TypeAlias

from headrace.kube.resources import Object, Resource

Propagation: TypeAlias = Literal["Background", "Foreground", "Orphan"]


class EventType(StrEnum):
    NORMAL = "Normal"
    WARNING = "Warning"


class Event(NamedTuple):
    """A Kubernetes Event about the reconciled object. `reason` is CamelCase, `message` a sentence for a person."""

    type: EventType
    reason: str
    message: str


class Patch(NamedTuple):
    """A JSON merge patch; metadata.resourceVersion and metadata.uid in it are preconditions."""

    resource: Resource
    namespace: str | None
    name: str
    patch: Object
    subresource: str = ""


class Delete(NamedTuple):
    """A deletion of exactly the object with this uid."""

    resource: Resource
    namespace: str | None
    name: str
    uid: str
    propagation: Propagation = "Background"


@dataclass(frozen=True)
class Plan:
    """Nothing to do, unless said otherwise.

    status         the whole next status; None leaves it alone; written only when it differs from the current one
    creates        objects that are made once and never changed (a Job, a ControllerRevision)
    applies        objects that are kept as they are given here (server-side apply)
    events         recorded last, when everything before them is done
    requeue_after  seconds until the next look; None: when something changes
    """

    status: Object | None = None
    creates: tuple[tuple[Resource, Object], ...] = ()
    applies: tuple[tuple[Resource, Object], ...] = ()
    patches: tuple[Patch, ...] = ()
    deletes: tuple[Delete, ...] = ()
    events: tuple[Event, ...] = ()
    requeue_after: float | None = None
