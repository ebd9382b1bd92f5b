"""Makes a plan so: the only module that changes the cluster.

The order is the safety: status first (it carries the intent and the resourceVersion the plan was made from: somebody
else's change stops everything here), then the acts, then the Events. Each act is idempotent and bound to the uid of
what was seen, so that a process killed between two of them, or one that runs late, does nothing twice and hits nothing
else.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from headrace.kube.client import KubeClient
from headrace.kube.errors import Conflict, Forbidden, Invalid, NotOurs, Refused
from headrace.kube.events import EventRecorder
from headrace.kube.ownership import is_owned, not_ours
from headrace.kube.plan import Plan
from headrace.kube.resources import Object, Resource
from headrace.kube.unchanged import marked, stands


async def apply(plan: Plan, client: KubeClient, resource: Resource, owner: Object) -> float | None:
    """Carry out the plan for `owner`, the object it was made for, as it was read; seconds until the next look.

    Raises Conflict when the owner changed since, NotOurs when a name that the plan needs is taken by somebody else,
    Refused when the API server does not accept an object.
    """
    has_new_status = plan.status is not None and plan.status != owner.get("status")
    if has_new_status and plan.status is not None:
        owner = await client.patch_status(resource, owner, plan.status)
    try:
        await _act(plan, client, owner["metadata"]["uid"])
    except Conflict:
        # The next pass finds this status and has no news to tell of it: it is told now, and the acts are done then.
        if has_new_status:
            await _tell(plan, client, resource, owner)
        raise
    await _tell(plan, client, resource, owner)
    return plan.requeue_after


async def _act(plan: Plan, client: KubeClient, uid: str) -> None:
    for kind, wanted in plan.creates:
        await _create(client, kind, wanted, uid)
    for kind, wanted in plan.applies:
        await _apply(client, kind, wanted, uid)
    for patch in plan.patches:
        await client.merge_patch(*patch)
    for delete in plan.deletes:
        await client.delete(
            delete.resource, delete.namespace, delete.name, uid=delete.uid, propagation=delete.propagation
        )


async def _tell(plan: Plan, client: KubeClient, resource: Resource, owner: Object) -> None:
    recorder = EventRecorder(client)
    for event in plan.events:
        await recorder.record(resource, owner, event)


@contextmanager
def _refusals() -> Iterator[None]:
    """What the API server has against the object becomes Refused; what it has against the operator stays what it is."""
    try:
        yield
    except (Invalid, Forbidden) as error:
        if error.status == HTTPStatus.UNAUTHORIZED:
            raise
        raise Refused(error) from error


async def _create(client: KubeClient, kind: Resource, wanted: Object, owner_uid: str) -> None:
    try:
        with _refusals():
            await client.create(kind, wanted)
    except Conflict:
        metadata = wanted["metadata"]
        live = await client.get(kind, metadata.get("namespace"), metadata["name"])
        if live is None:
            raise
        _must_be_ours(kind, live, owner_uid)


async def _apply(client: KubeClient, kind: Resource, wanted: Object, owner_uid: str) -> None:
    wanted = marked(wanted)
    metadata = wanted["metadata"]
    live = await client.get(kind, metadata.get("namespace"), metadata["name"])
    if live is None:
        # Not forced: an object that somebody makes in this very moment is not overwritten.
        with _refusals():
            await client.apply(kind, wanted, force=False)
        return
    _must_be_ours(kind, live, owner_uid)
    if stands(wanted, live):
        return
    with _refusals():
        await client.apply(kind, {**wanted, "metadata": {**metadata, "uid": live["metadata"]["uid"]}})


def _must_be_ours(kind: Resource, live: Object, owner_uid: str) -> None:
    if not is_owned(live, owner_uid):
        raise NotOurs(not_ours(kind, live))
