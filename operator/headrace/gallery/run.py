"""Brings an example to a namespace and waits until it serves: objects applied once, then looked at until the bound."""

from __future__ import annotations

import time

from headrace.applied import LOOK_SECONDS, CannotRun, Report, Wait, apply, tenant_of
from headrace.gallery.catalogue import Example
from headrace.gallery.progress import of_job, of_service
from headrace.kube.client import KubeClient
from headrace.kube.resources import MODELSERVICES, TRAININGJOBS, Object, Resource

__all__ = ["CannotRun", "run"]


async def run(
    example: Example, namespace: str, client: KubeClient, report: Report, *, seconds: float, pause: float = LOOK_SECONDS
) -> tuple[Object, ...]:
    """Returns the services, which answer then. Raises CannotRun and KubeError; where an object is refused none of them
    is applied.
    """
    bucket = str((await tenant_of(client, namespace))["bucket"])
    for uri in example.datasets(bucket):
        report(f"reads {uri}: {example.folder / 'README.md'} says how to make it and put it there")
    objects = example.objects(namespace, bucket)
    before = [await apply(client, resource, wanted, dry_run=True) for resource, wanted in objects]
    for (resource, wanted), found in zip(objects, before, strict=True):
        await apply(client, resource, wanted)
        report(f"{resource.kind} {wanted['metadata']['name']} {_what_was_done(namespace, resource, found)}")
    wait = Wait(client, namespace, report, time.monotonic() + seconds, pause)
    for job in example.jobs:
        await wait.until_done(TRAININGJOBS, job["metadata"]["name"], of_job)
    return tuple(
        [await wait.until_done(MODELSERVICES, service["metadata"]["name"], of_service) for service in example.services]
    )


def _what_was_done(namespace: str, resource: Resource, found: Object) -> str:
    """`found` is the object as it was, with what is wanted."""
    state = (found.get("status") or {}).get("state")
    if resource is TRAININGJOBS and state in ("Succeeded", "Failed"):
        name = found["metadata"]["name"]
        return f"has {state.lower()} before: `kubectl -n {namespace} delete trainingjob {name}` first to train anew"
    return "applied"
