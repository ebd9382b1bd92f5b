"""One pass over a ModelService: read everything of it live, plan, apply, tell the registry. The I/O around `plan`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime

import aiohttp

from headrace.api.meta import Condition, ConditionStatus
from headrace.api.modelservice import ModelService, ModelServiceStatus, Phase, Route, to_status_dict
from headrace.clock import utc_now
from headrace.kube.apply import apply, is_owned
from headrace.kube.client import KubeClient
from headrace.kube.errors import KindNotFound, NotOurs
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
from headrace.rollout.counters import Counters
from headrace.rollout.route import route_path
from headrace.serving.observed import Observed, Owned, ServingPod, read_pod
from headrace.serving.plan import POLL_WAITING, plan
from headrace.serving.resolve import NotResolved, resolve
from headrace.serving.revision import Artifact
from headrace.serving.scrape import Scraper
from headrace.serving.status import finish_status
from headrace.settings import Settings
from headrace.tracking.client import MlflowClient
from headrace.tracking.errors import TrackingError
from headrace.tracking.ledger import Ledger

OUTCOME_TAG = "headrace.rollout"
REASON_TAG = "headrace.rollout.reason"
UNTOLD = "RegistryUpdated"  # the condition that is there, and False, while the registry is to be told something

log = logging.getLogger(__name__)


class ServingReconciler:
    """`client` is the guarded one, `http` reads metrics of pods and gateway; without MLflow `ledger` and `mlflow` are
    None.
    """

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
        self._scraper = Scraper(http, settings.gateway_metrics_url)
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
            # Before the status is written: else each pass would write what it plans, and then that it cannot do it.
            await self._must_be_free(planned, observed, service.metadata.uid)
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
        gateway_api, routes = await self._routes(service)
        for resource in (CONTROLLERREVISIONS, DEPLOYMENTS, SERVICES, PDBS, HTTPROUTES):
            found = routes if resource == HTTPROUTES else await self._client.list(resource, namespace, labels)
            for obj in found:
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
            gateway=await self._gateway_counters(service),
            gateway_api=gateway_api,
            weights=_weights(route),
            route_conflict=_conflict(service, route, routes),
            route_accepted=accepted,
            route_message=message,
        )

    async def _routes(self, service: ModelService) -> tuple[bool, Objects]:
        """Whether this cluster knows HTTPRoutes, and those of all services that a route could collide with."""
        everywhere = self._settings.namespaces or (None,)
        found: Objects = []
        try:
            for namespace in everywhere if service.spec.route is not None else (service.metadata.namespace,):
                found += await self._client.list(HTTPROUTES, namespace, MODEL_SERVICE)
        except KindNotFound:
            return False, []
        return True, found

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
        return await self._scraper.of_pods(pods)

    async def _gateway_counters(self, service: ModelService) -> dict[str, Counters]:
        """The canary's, from each instance of the gateway; of a gateway that is not the release's there are none."""
        status, analysis = service.status, service.spec.rollout.analysis
        if status.rollout is None or status.canary is None or analysis is None or service.spec.route is None:
            return {}
        return await self._scraper.of_gateway(service.metadata.namespace, status.canary.revision)

    async def _must_be_free(self, planned: Plan, observed: Observed, uid: str) -> None:
        """Raises NotOurs when a name that is needed for the first time belongs to somebody else."""
        ours = {(owned.resource, owned.name) for owned in observed.owned}
        for resource, wanted in (*planned.creates, *planned.applies):
            namespace, name = wanted["metadata"]["namespace"], wanted["metadata"]["name"]
            if (resource, name) in ours:
                continue
            live = await self._client.get(resource, namespace, name)
            if live is not None and not is_owned(live, uid):
                raise NotOurs(f"{resource.kind} {namespace}/{name} belongs to somebody else: delete or rename it")

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
            log.warning("%s: the registry is still to be told: %s", key, error)
            await self._say_untold(service, live, error)
            return
        await self._write(told.model_copy(update={"conditions": _without_untold(told)}), live, events)

    async def _say_untold(self, service: ModelService, live: Object, error: TrackingError) -> None:
        """In a condition, which the next plan leaves alone; the same news is told once."""
        old = next((known for known in service.status.conditions if known.type == UNTOLD), None)
        if old is not None and (old.reason, old.message) == (error.reason, str(error)):
            return
        condition = Condition(
            type=UNTOLD,
            status=ConditionStatus.FALSE,
            reason=error.reason,
            message=str(error),
            observed_generation=service.metadata.generation,
            last_transition_time=old.last_transition_time if old else self._now().replace(microsecond=0),
        )
        said = service.status.model_copy(update={"conditions": (*_without_untold(service.status), condition)})
        await self._write(said, live, (Event(EventType.WARNING, error.reason, str(error)),))

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

    async def _write(self, status: ModelServiceStatus, live: Object, events: tuple[Event, ...]) -> None:
        await apply(Plan(status=to_status_dict(status), events=events), self._client, MODELSERVICES, live)

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


def _weights(route: Object | None) -> dict[str, int] | None:
    """What the route gives each Service; None without a route."""
    if route is None:
        return None
    backends = (backend for rule in route["spec"].get("rules") or () for backend in rule.get("backendRefs") or ())
    return {backend["name"]: backend.get("weight", 1) for backend in backends}


def _conflict(service: ModelService, own: Object | None, routes: Objects) -> str:
    """The older HTTPRoute of another service with the same gateway, host and path; Gateway status does not say so."""
    route = service.spec.route
    if route is None:
        return ""
    for other in sorted(routes, key=_seniority):
        # Before there is a route of ours, everybody's is older.
        if is_owned(other, service.metadata.uid) or (own is not None and _seniority(other) > _seniority(own)):
            continue
        if _collides(other, service, route):
            return f"{other['metadata']['namespace']}/{other['metadata']['name']}"
    return ""


def _seniority(route: Object) -> tuple[str, str, str]:
    """Gateway API's own order: the oldest first, of the same second the first in the alphabet."""
    meta = route["metadata"]
    return meta["creationTimestamp"], meta["namespace"], meta["name"]


def _collides(other: Object, service: ModelService, route: Route) -> bool:
    spec, namespace = other.get("spec") or {}, other["metadata"]["namespace"]
    theirs = [
        (ref.get("namespace") or namespace, ref["name"], ref.get("sectionName")) for ref in spec.get("parentRefs") or ()
    ]
    ours = [(ref.namespace or service.metadata.namespace, ref.name, ref.section_name) for ref in route.parent_refs]
    same_listener = any(a[:2] == b[:2] and (a[2] == b[2] or a[2] is None or b[2] is None) for a in theirs for b in ours)
    hosts, hostnames = set(spec.get("hostnames") or ()), set(route.hostnames)
    same_host = bool(hosts & hostnames) or (not hosts and not hostnames)
    paths = {
        match.get("path", {}).get("value", "/")
        for rule in spec.get("rules") or ()
        for match in rule.get("matches") or ()
    }
    return same_listener and same_host and route_path(service.metadata.namespace, service.metadata.name, route) in paths


def _without_untold(status: ModelServiceStatus) -> tuple[Condition, ...]:
    return tuple(condition for condition in status.conditions if condition.type != UNTOLD)
