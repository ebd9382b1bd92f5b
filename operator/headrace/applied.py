"""Objects that a person applies through the command line, and waits for: somebody else's stay as they are, and a
refusal says what to do.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from headrace.gallery.progress import Outcome, Seen
from headrace.kube.client import KubeClient
from headrace.kube.errors import ApiUnavailable, Conflict, Invalid
from headrace.kube.resources import CONFIGMAPS, TRAININGJOBS, Object, Resource
from headrace.sentences import joined
from headrace.tenancy.objects import TENANT_CONFIGMAP

LOOK_SECONDS = 2.0
# Not the operator's: what somebody else has made under these names stays theirs (Conflict).
MANAGER = "headrace-cli"

Report = Callable[[str], None]


class CannotRun(Exception):
    """An object is refused, fails, or is not ready in time."""


class Ended(CannotRun):
    """It has failed, and does not go on by itself."""


async def tenant_of(client: KubeClient, namespace: str) -> Mapping[str, str]:
    """What its ConfigMap says, a bucket at least; raises CannotRun where the namespace is no tenant's."""
    found = await client.get(CONFIGMAPS, namespace, TENANT_CONFIGMAP)
    data: Mapping[str, str] = (found or {}).get("data") or {}
    if not data.get("bucket"):
        lack = "is not a tenant" if found is None else f"has a ConfigMap {TENANT_CONFIGMAP} that names no bucket"
        raise CannotRun(
            f"namespace {namespace!r} {lack}: run `headrace tenant add {namespace}`, or name one of "
            "`headrace tenant list` with --namespace"
        )
    return data


async def apply(client: KubeClient, resource: Resource, wanted: Object, *, dry_run: bool = False) -> Object:
    name = f"{resource.kind.lower()} {wanted['metadata']['name']}"
    remove = f"kubectl -n {wanted['metadata']['namespace']} delete {name}"
    try:
        found = await client.apply(resource, wanted, field_manager=MANAGER, force=False, dry_run=dry_run)
    except Conflict as error:
        raise CannotRun(f"somebody else made {name}: take another namespace, or `{remove}` first; {error}") from error
    except Invalid as error:
        there = await client.get(resource, wanted["metadata"]["namespace"], wanted["metadata"]["name"])
        hint = f": if it is from an earlier run, `{remove}` first" if there is not None else ""
        raise CannotRun(f"{error}{hint}") from error
    if others := sorted(found.get("data", {}).keys() - wanted.get("data", {}).keys()):
        keys = ", ".join(others)
        raise CannotRun(f"somebody else made {name}, which has {keys}: take another namespace, or `{remove}` first")
    return found


@dataclass(frozen=True)
class Wait:
    """Looks every `pause` seconds, and says what has changed; `deadline` is by the monotonic clock."""

    client: KubeClient
    namespace: str
    report: Report
    deadline: float
    pause: float

    async def until_done(self, resource: Resource, name: str, look: Callable[[Object], Seen]) -> Object:
        """The object as it is then."""
        said, what = "", f"{resource.kind} {name}"
        look_at = f"kubectl -n {self.namespace} describe {resource.kind.lower()} {name}"
        while True:
            try:
                found = await self.client.get(resource, self.namespace, name)
            except ApiUnavailable as error:
                found, seen = {}, Seen(Outcome.UNDER_WAY, str(error))
            else:
                if found is None:
                    raise CannotRun(f"{what} was deleted while it was waited for")
                seen = look(found)
            if seen.line != said:
                said = seen.line
                self.report(f"{what}: {said}")
            if seen.outcome is Outcome.DONE:
                return found
            if seen.outcome is Outcome.FAILED:
                raise Ended(joined(f"{what}: {said}", f"Look at `{look_at}`{self._then(resource, name)}"))
            if time.monotonic() > self.deadline:
                raise CannotRun(joined(f"{what} was not done in time: {said}", f"It goes on; look at `{look_at}`"))
            await asyncio.sleep(self.pause)

    def _then(self, resource: Resource, name: str) -> str:
        """A TrainingJob that has failed does not run again; a ModelService goes on by itself."""
        if resource is not TRAININGJOBS:
            return ""
        return f". When it is mended, `kubectl -n {self.namespace} delete trainingjob {name}` and run this again"
