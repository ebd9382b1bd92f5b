"""Kubernetes Events about a reconciled object: what happened, readable in `kubectl describe`.

The same (object, type, reason, message) is one Event of a name computed from them, whose count goes up: an operator
that was killed and does a step again adds no second line. Events are a courtesy: the truth is in status, and an Event
that cannot be written fails nothing.
"""

import hashlib
import logging
from collections.abc import Callable
from datetime import UTC, datetime

from headrace.kube.client import KubeClient
from headrace.kube.errors import KubeError
from headrace.kube.plan import Event
from headrace.kube.resources import EVENTS, Object, Resource

COMPONENT = "headrace"
MESSAGE_BYTES = 1024
NAME_LENGTH = 236
# The reason of Kubernetes' own controllers where the API server takes no object from them.
FAILED_CREATE = "FailedCreate"

log = logging.getLogger(__name__)


class EventRecorder:
    """`client` must be the guarded one; `now` is for tests."""

    def __init__(self, client: KubeClient, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._client = client
        self._now = now

    async def record(self, resource: Resource, about: Object, event: Event) -> None:
        """Write the Event, or count it up. A refusal by the API server is logged, no more; LeaseLost is raised."""
        try:
            await self._upsert(resource, about, event)
        except KubeError as error:
            log.warning("event %s about %s was not recorded: %s", event.reason, about["metadata"]["name"], error)

    async def _upsert(self, resource: Resource, about: Object, event: Event) -> None:
        time = self._now().strftime("%Y-%m-%dT%H:%M:%SZ")
        namespace, name = about["metadata"].get("namespace", "default"), event_name(about, event)
        live = await self._client.get(EVENTS, namespace, name)
        if live is None:
            await self._client.create(EVENTS, _render(resource, about, event, name, namespace, time))
            return
        patch = {
            "metadata": {"resourceVersion": live["metadata"]["resourceVersion"]},
            "count": live.get("count", 1) + 1,
            "lastTimestamp": time,
        }
        await self._client.merge_patch(EVENTS, namespace, name, patch)


async def latest_event(client: KubeClient, namespace: str, uid: str, reason: str) -> Object | None:
    """The newest Event with this reason about the object with this uid, whoever has told it; None: there is none."""
    events = await client.list(EVENTS, namespace, fields=f"involvedObject.uid={uid},reason={reason}")
    return max(events, key=lambda event: event.get("lastTimestamp") or "", default=None)


def event_name(about: Object, event: Event) -> str:
    """The same name for the same news about the same object, whichever process tells it."""
    identity = "\0".join((about["metadata"]["uid"], event.type, event.reason, event.message))
    digest = hashlib.sha256(identity.encode()).hexdigest()[:16]
    return f"{about['metadata']['name'][:NAME_LENGTH]}.{digest}"


def _render(resource: Resource, about: Object, event: Event, name: str, namespace: str, time: str) -> Object:
    metadata = about["metadata"]
    return {
        "metadata": {"name": name, "namespace": namespace},
        "involvedObject": {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "namespace": metadata.get("namespace"),
            "name": metadata["name"],
            "uid": metadata["uid"],
        },
        "type": str(event.type),
        "reason": event.reason,
        "message": event.message.encode()[:MESSAGE_BYTES].decode(errors="ignore"),
        "count": 1,
        "firstTimestamp": time,
        "lastTimestamp": time,
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
    }
