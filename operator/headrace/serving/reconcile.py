"""One pass over a ModelService: read everything of it live, plan, apply, tell the registry. The I/O around `plan`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any

import aiohttp

from headrace.api.modelservice import ModelService, ModelServiceStatus, Phase
from headrace.kube.apply import apply, is_owned
from headrace.kube.client import KubeClient
from headrace.kube.errors import NotFound, NotOurs
from headrace.kube.keys import Key
from headrace.kube.plan import Event, EventType, Plan
from headrace.kube.resources import (
    CONTROLLERREVISIONS,
    DEPLOYMENTS,
    HTTPROUTES,
    MODELSERVICES,
    PDBS,
    PODS,
    SERVICES,
    Object,
    Objects,
)
from headrace.labels import MODEL_SERVICE, MODEL_SERVICE_UID, REVISION
from headrace.rollout.analysis import Counters, parse_metrics
from headrace.rollout.route import route_path
from headrace.serving.observed import Observed, Owned, ServingPod, read_pod
from headrace.serving.plan import POLL_WAITING, plan
from headrace.serving.resolve import NotResolved, resolve
from headrace.serving.revision import METRICS_PORT, Artifact
from headrace.serving.status import finish_status
from headrace.settings import Settings
from headrace.tracking.client import MlflowClient
from headrace.tracking.errors import TrackingError
from headrace.tracking.ledger import Ledger
from headrace.training.reconcile import utc_now

SCRAPE_SECONDS = 2.0
MAX_METRICS_BYTES = 1024 * 1024
OUTCOME_TAG = "headrace.rollout"
REASON_TAG = "headrace.rollout.reason"

log = logging.getLogger(__name__)


class ServingReconciler:
    """`client` is the guarded one; `http` reads the pods' metrics; without MLflow `ledger` and `mlflow` are None."""

    def __init__(
        self,
        client: KubeClient,
        http: aiohttp.ClientSession,
        settings: Settings,
        ledger: Ledger | None,
        mlflow: MlflowClient | None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._client = client
        self._http = http
        self._settings = settings
        self._ledger = ledger
        self._mlflow = mlflow
        self._now = now

    async def reconcile(self, key: Key) -> float | None:
        """Seconds until the next look."""
        live = await self._client.get(MODELSERVICES, key.namespace, key.name)
        if live is None:
            return None
        service = ModelService.model_validate(live)
        if service.metadata.deletion_timestamp is not None:
            return None
        observed = await self._observe(service)
        planned = plan(service, observed, self._now(), self._settings)
        try:
            again = await apply(planned, self._client, MODELSERVICES, live)
        except NotOurs as error:
            return await self._say(service, observed, "NameInUse", str(error))
        await self._tell_registry(key)
        return again

    # -- reading -------------------------------------------------------------------------------------------------------

    async def _observe(self, service: ModelService) -> Observed:
        namespace = service.metadata.namespace
        labels = f"{MODEL_SERVICE_UID}={service.metadata.uid}"
        artifact, problem = await self._artifact(service)
        pods = tuple(read_pod(obj) for obj in await self._client.list(PODS, namespace, labels))
        templates: dict[str, Object] = {}
        owned: list[Owned] = []
        route: Object | None = None
        for resource in (CONTROLLERREVISIONS, DEPLOYMENTS, SERVICES, PDBS, HTTPROUTES):
            for obj in await self._list(resource, namespace, labels):
                if not is_owned(obj, service.metadata.uid):
                    continue
                meta = obj["metadata"]
                owned.append(Owned(resource, meta["name"], meta["uid"], (meta.get("labels") or {}).get(REVISION, "")))
                if resource == CONTROLLERREVISIONS:
                    templates[meta["name"]] = obj["data"]["template"]
                if resource == HTTPROUTES:
                    route = obj
        accepted, message = _acceptance(route)
        return Observed(
            artifact=artifact,
            artifact_problem=problem,
            pods=pods,
            templates=templates,
            owned=tuple(owned),
            counters=await self._counters(service, pods),
            route_conflict=await self._route_conflict(service, route),
            route_accepted=accepted,
            route_message=message,
        )

    async def _list(self, resource: Any, namespace: str | None, labels: str) -> Objects:
        try:
            return await self._client.list(resource, namespace, labels)
        except NotFound:  # Gateway API is not installed
            return []

    async def _artifact(self, service: ModelService) -> tuple[Artifact | None, tuple[str, str] | None]:
        try:
            return await resolve(service, self._client, self._ledger, self._mlflow), None
        except NotResolved as error:
            return None, (error.reason, str(error))
        except TrackingError as error:
            return None, (error.reason, str(error))

    async def _counters(self, service: ModelService, pods: tuple[ServingPod, ...]) -> dict[str, Counters]:
        """Read only while a rollout asks for it."""
        if service.status.rollout is None or service.spec.rollout.analysis is None:
            return {}
        readable = [pod for pod in pods if pod.ip and pod.ready]
        found = await asyncio.gather(*(self._scrape(pod) for pod in readable))
        return {pod.name: counters for pod, counters in zip(readable, found, strict=True) if counters is not None}

    async def _scrape(self, pod: ServingPod) -> Counters | None:
        host = f"[{pod.ip}]" if ":" in pod.ip else pod.ip
        timeout = aiohttp.ClientTimeout(total=SCRAPE_SECONDS)
        try:
            async with self._http.get(f"http://{host}:{METRICS_PORT}/metrics", timeout=timeout) as answer:
                body = await answer.content.read(MAX_METRICS_BYTES)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            log.debug("metrics of pod %s: %s", pod.name, error)
            return None
        return parse_metrics(body.decode(errors="replace")) if answer.status == 200 else None

    async def _route_conflict(self, service: ModelService, own: Object | None) -> str:
        """The older HTTPRoute of another owner with the same gateway, host and path; Gateway status does not say so."""
        route = service.spec.route
        if route is None:
            return ""
        path = route_path(service.metadata.namespace, service.metadata.name, route)
        parents = {(ref.namespace or service.metadata.namespace, ref.name) for ref in route.parent_refs}
        # Before there is a route of ours, everybody's is older.
        since = own["metadata"]["creationTimestamp"] if own else "9999"
        for other in await self._list(HTTPROUTES, None, MODEL_SERVICE):
            meta = other["metadata"]
            if is_owned(other, service.metadata.uid) or meta["creationTimestamp"] > since:
                continue
            if _collides(other, parents, set(route.hostnames), path):
                return f"{meta['namespace']}/{meta['name']}"
        return ""

    # -- writing -------------------------------------------------------------------------------------------------------

    async def _say(self, service: ModelService, observed: Observed, reason: str, message: str) -> float:
        meta = service.metadata
        fresh = await self._client.get(MODELSERVICES, meta.namespace, meta.name)
        if fresh is not None and fresh["metadata"]["uid"] == meta.uid:
            current = ModelService.model_validate(fresh)
            phase = current.status.phase or Phase.PENDING
            said = current.status.model_copy(update={"phase": phase, "reason": reason, "message": message})
            status = finish_status(current, said, observed, self._now())
            await apply(Plan(status=status), self._client, MODELSERVICES, fresh)
        return POLL_WAITING

    async def _tell_registry(self, key: Key) -> None:
        """Do what status promises the registry: tag outcomes, point the promotion alias. Each act may be repeated."""
        if self._ledger is None:
            return
        live = await self._client.get(MODELSERVICES, key.namespace, key.name)
        if live is None:
            return
        service = ModelService.model_validate(live)
        status = service.status
        pending = status.promotion.pending_version if status.promotion else None
        if pending is None and not status.pending_outcomes:
            return
        try:
            told, events = await self._keep_promises(service, self._ledger)
        except TrackingError as error:
            promotion = status.promotion
            log.warning("%s: the registry is still to be told: %s", key, error)
            reason = error.reason
            event = Event(EventType.WARNING, reason, str(error))
            said = status.model_copy(update={"message": f"{status.message}; the registry: {error}"[:2000]})
            if promotion is not None and str(error) not in (status.message or ""):
                await self._write(service, said, live, (event,))
            return
        await self._write(service, told, live, events)

    async def _keep_promises(
        self, service: ModelService, ledger: Ledger
    ) -> tuple[ModelServiceStatus, tuple[Event, ...]]:
        status, name = service.status, self._model_of(service)
        events: tuple[Event, ...] = ()
        for entry in status.pending_outcomes:
            tags = {OUTCOME_TAG: entry.outcome.value, REASON_TAG: entry.reason}
            await ledger.tag_version(name, entry.version, tags)
        promotion = status.promotion
        if promotion is not None and promotion.pending_version is not None:
            owner = f"{service.metadata.namespace}/{service.metadata.name}"
            await ledger.claim_alias(name, promotion.alias, owner)
            expected = promotion.expected_version
            if expected is None:  # the first time: wherever the alias is, it is taken over from there
                current = await ledger.resolve(name, promotion.alias)
                expected = current.version if current else None
            await ledger.move_alias(name, promotion.alias, promotion.pending_version, expected)
            message = f"alias {promotion.alias} of {name} points at version {promotion.pending_version}"
            events = (Event(EventType.NORMAL, "AliasMoved", message),)
            promotion = promotion.model_copy(
                update={"expected_version": promotion.pending_version, "pending_version": None}
            )
        return status.model_copy(update={"pending_outcomes": (), "promotion": promotion}), events

    async def _write(
        self, service: ModelService, status: ModelServiceStatus, live: Object, events: tuple[Event, ...]
    ) -> None:
        written = status.model_dump(mode="json", by_alias=True, exclude_none=True)
        await apply(Plan(status=written, events=events), self._client, MODELSERVICES, live)

    def _model_of(self, service: ModelService) -> str:
        for revision in (service.status.stable, service.status.canary):
            if revision is not None and revision.model is not None and revision.model.name:
                return revision.model.name
        return ""


def _acceptance(route: Object | None) -> tuple[bool | None, str]:
    """What the gateways say of the route: every parent has to accept it and resolve its references."""
    parents = ((route or {}).get("status") or {}).get("parents") or []
    if not parents:
        return None, ""
    for parent in parents:
        for condition in parent.get("conditions") or ():
            if condition["type"] in ("Accepted", "ResolvedRefs") and condition["status"] == "False":
                return False, f"{condition['type']}: {condition.get('message', '')}"
    return True, ""


def _collides(other: Object, parents: set[tuple[str, str]], hostnames: set[str], path: str) -> bool:
    spec, namespace = other.get("spec") or {}, other["metadata"]["namespace"]
    theirs = {(ref.get("namespace") or namespace, ref["name"]) for ref in spec.get("parentRefs") or ()}
    hosts = set(spec.get("hostnames") or ())
    same_host = bool(hosts & hostnames) or (not hosts and not hostnames)
    paths = {
        match.get("path", {}).get("value", "/")
        for rule in spec.get("rules") or ()
        for match in rule.get("matches") or ()
    }
    return bool(theirs & parents) and same_host and path in paths
