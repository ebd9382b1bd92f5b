"""One pass over a ModelService: read everything of it live, plan, apply, tell the registry. The I/O around `plan`.

While it is at rest (see `rest`) a pass is one question.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

import aiohttp

from headrace.api.meta import Condition, ConditionStatus
from headrace.api.modelservice import ModelService, ModelServiceStatus, Phase, to_status_dict
from headrace.clock import utc_now
from headrace.inflight import InFlight, StillWaiting
from headrace.kube.apply import apply
from headrace.kube.client import KubeClient
from headrace.kube.errors import Conflict, Forbidden, KindNotFound, NotOurs, Refused
from headrace.kube.keys import Key
from headrace.kube.ownership import is_owned, not_ours
from headrace.kube.plan import Event, EventType, Plan
from headrace.kube.queue import Cause
from headrace.kube.resources import (
    CONTROLLERREVISIONS,
    DEPLOYMENTS,
    HTTPROUTES,
    MODELSERVICES,
    NETWORKPOLICIES,
    PDBS,
    PODS,
    SERVICES,
    Object,
    Objects,
    Resource,
)
from headrace.labels import MODEL_SERVICE, MODEL_SERVICE_UID, REVISION
from headrace.rollout.counters import Counters
from headrace.rollout.route import acceptance, behind
from headrace.rollout.traefik import backend_pattern, is_alike
from headrace.serving import promises, unprepared
from headrace.serving.explainer.observed import is_explainers, read_explainer
from headrace.serving.explainer.plan import plan_explainer
from headrace.serving.loaders import Loaders
from headrace.serving.observed import (
    Observed,
    Owned,
    ServingPod,
    Trouble,
    metrics_in,
    read_missing_pods,
    read_pod,
    refused,
)
from headrace.serving.plan import POLL_WAITING, plan
from headrace.serving.resolve import Models, find_models
from headrace.serving.rest import Rests, is_at_rest
from headrace.serving.rivals import called, rivals, service_of
from headrace.serving.scrape import Scraper
from headrace.serving.status import finish_status
from headrace.settings import Settings
from headrace.tracking.aliases import Aliases
from headrace.tracking.client import MlflowClient
from headrace.tracking.errors import TrackingError, TrackingUnavailable
from headrace.tracking.ledger import Ledger

UNTOLD = "RegistryUpdated"  # the condition that is there, and False, while the registry is to be told something

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Counted:
    """What was counted of a rollout's revisions, as `Observed` has it."""

    of_pods: Mapping[str, Counters] = field(default_factory=dict)
    of_gateway: Mapping[str, Counters] = field(default_factory=dict)
    at_gateway: Mapping[str, Mapping[str, Counters]] = field(default_factory=dict)


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
        self._scraper = Scraper(http, settings.gateway_metrics_url, settings.runtimes)
        self._loaders = Loaders(self._scraper)
        self._settings = settings
        self._ledger = ledger
        self._mlflow = mlflow
        self._now = now
        self._since = now()
        self._refusals: dict[Key, Trouble] = {}
        self._explainer_refusals: dict[Key, Trouble] = {}
        self._rests = Rests(client, Aliases(mlflow) if mlflow is not None else None)
        self._resolving: InFlight[Key, Models] = InFlight()
        self._telling: InFlight[Key, None] = InFlight()
        self._models_known: dict[Key, tuple[tuple[str, int], Models]] = {}
        self._rolling_out: set[Key] = set()

    def is_urgent(self, key: Key) -> bool:
        """Whether requests are on a canary: its looks, and its way back, come before everything else."""
        return key in self._rolling_out

    async def close(self) -> None:
        """End what is under way with MLflow and with loaders."""
        for under_way in (self._resolving, self._telling, self._rests, self._loaders):
            await under_way.close()

    async def reconcile(self, key: Key, cause: Cause = Cause.WOKEN) -> float | None:
        """Seconds until the next look."""
        if cause is Cause.TIMER and (pause := await self._rests.holds(key, self._now())) is not None:
            return pause
        self._rests.end(key)
        live = await self._client.get(MODELSERVICES, key.namespace, key.name)
        if live is None:
            self._refusals.pop(key, None)
            self._explainer_refusals.pop(key, None)
            self._rolling_out.discard(key)
            self._models_known.pop(key, None)
            await self._loaders.forget(key)
            await self._resolving.forget(key)
            await self._telling.forget(key)
            return None
        service = ModelService.model_validate(live)
        self._note_urgency(key, service.status)
        if service.metadata.deletion_timestamp is not None:
            return None
        observed = replace(await self._observe(key, service), refusal=self._refusals.get(key))
        planned = plan(service, observed, self._now(), self._settings)
        try:
            # Before the status is written: else each pass would write what it plans, and then that it cannot do it.
            await self._must_be_free(planned, observed.owned, service.metadata.uid)
            again = await apply(planned, self._client, MODELSERVICES, live)
            self._refusals.pop(key, None)
        except Refused as error:
            # The next pass tells it.
            self._refusals[key] = refused(str(error), for_good=error.for_good)
            return POLL_WAITING
        except NotOurs as error:
            return await self._say(service, observed, "NameInUse", str(error))
        with suppress(StillWaiting):  # it goes on, and the next pass sees to it
            await self._telling.result(key, partial(self._tell_registry, key))
        explainer_rests = await self._apply_explainer(key, service, planned, observed, live)
        if self._resolving.is_under_way(key):
            return POLL_WAITING if again is None else min(again, POLL_WAITING)  # the answer is fetched while it is new
        at_rest = explainer_rests and is_at_rest(service, live.get("status"), observed, planned)
        if observed.artifact is not None and at_rest:
            return await self._rests.begin(key, service.spec.model, observed.artifact, self._now())
        return again

    async def _apply_explainer(
        self, key: Key, service: ModelService, planned: Plan, observed: Observed, live: Object
    ) -> bool:
        """After the service's own plan, and whatever becomes of it is no matter of the service's. Whether there was
        nothing to do but to look again; the next pass tells what was in the way.
        """
        if service.spec.explain is None and not observed.explainer.owned:
            self._explainer_refusals.pop(key, None)
            return True
        status = ModelServiceStatus.model_validate(planned.status or {})
        wanted = plan_explainer(service, status, observed, self._settings)
        try:
            await self._must_be_free(wanted, observed.explainer.owned, service.metadata.uid)
            await apply(wanted, self._client, MODELSERVICES, live)
        except Refused as error:
            self._explainer_refusals[key] = refused(str(error), for_good=error.for_good)
            return False
        except NotOurs as error:
            self._explainer_refusals[key] = Trouble("Config", "NameInUse", str(error), "", "")
            return False
        except Conflict:  # somebody else wrote at the same time
            return False
        except (Forbidden, KindNotFound) as error:
            self._explainer_refusals[key] = refused(str(error), for_good=False)
            return False
        was_refused = self._explainer_refusals.pop(key, None) is not None
        return not was_refused and not wanted.deletes

    def _note_urgency(self, key: Key, status: ModelServiceStatus) -> None:
        if status.rollout is not None:
            self._rolling_out.add(key)
        else:
            self._rolling_out.discard(key)

    # -- reading -------------------------------------------------------------------------------------------------------

    async def _observe(self, key: Key, service: ModelService) -> Observed:
        namespace = service.metadata.namespace
        labels = f"{MODEL_SERVICE_UID}={service.metadata.uid}"
        models = await self._models(service)
        throttle = self._settings.gateway_throttle
        listed = await self._client.list(PODS, namespace, labels)
        secret = "" if service.spec.storage is None else service.spec.storage.secret_ref.name
        serving = tuple(read_pod(obj, throttle, secret) for obj in listed if not is_explainers(obj))
        serving = await unprepared.told(self._client, listed, serving, self._now())
        pods = await self._loaders.told(key, serving, self._now())
        explainers: list[tuple[Resource, Object]] = []
        templates: dict[str, Object] = {}
        owned: list[Owned] = []
        missing: dict[str, Trouble] = {}
        policy: Object | None = None
        route: Object | None = None
        gateway_api, routes = await self._routes(service)
        for resource in (CONTROLLERREVISIONS, DEPLOYMENTS, SERVICES, PDBS, NETWORKPOLICIES, HTTPROUTES):
            found = routes if resource == HTTPROUTES else await self._client.list(resource, namespace, labels)
            for obj in found:
                if not is_owned(obj, service.metadata.uid):
                    continue
                if is_explainers(obj):
                    explainers.append((resource, obj))
                    continue
                meta = obj["metadata"]
                owned.append(Owned(resource, meta["name"], meta["uid"], (meta.get("labels") or {}).get(REVISION, "")))
                if resource == DEPLOYMENTS and (trouble := read_missing_pods(obj)) is not None:
                    missing[owned[-1].revision] = trouble
                if resource == CONTROLLERREVISIONS:
                    templates[meta["name"]] = obj["data"]["template"]
                if resource == NETWORKPOLICIES:
                    policy = obj["spec"]
                if resource == HTTPROUTES:
                    route = obj
        routes = [obj for obj in routes if not is_explainers(obj)]  # each lies below the route of its service
        others = rivals(service, route, routes)
        for rival in others.yielding:
            # It has to give way, and no event tells it: it is this service that changed.
            self._rests.end(service_of(rival))
        accepted, message = acceptance(route)
        counters = await self._counters(service, pods, templates, route, routes)
        return Observed(
            artifact=models.source,
            artifact_problem=models.problem,
            promoted=models.promoted,
            rolled_back=models.rolled_back,
            pods=pods,
            templates=templates,
            owned=tuple(owned),
            counters=counters.of_pods,
            gateway=counters.of_gateway,
            at_gateway=counters.at_gateway,
            gateway_api=gateway_api,
            gateway_throttle=throttle,
            policy=policy,
            weights=_weights(route),
            route_conflict=called(others.refusing[0]) if others.refusing else "",
            route_kept=route if others.refusing and not others.outranking else None,
            route_accepted=accepted,
            route_message=message,
            route_behind=behind(route),
            watched_since=self._since,
            missing_pods=missing,
            explainer=read_explainer(
                explainers, list(filter(is_explainers, listed)), throttle, self._explainer_refusals.get(key), secret
            ),
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

    async def _models(self, service: ModelService) -> Models:
        """What the service may have to serve, or why that cannot be told now. No pass waits for MLflow longer than a
        moment: a canary is watched, and rolled back, while it does not answer.
        """
        key = Key(MODELSERVICES, service.metadata.namespace, service.metadata.name)
        about = (service.metadata.uid, service.metadata.generation)
        asked = partial(find_models, service, self._client, self._ledger, self._mlflow)
        try:
            models = await self._resolving.result(key, asked, about=about)
        except StillWaiting:
            known = self._models_known.get(key)
            if known is not None and known[0] == about:
                return known[1]
            message = "waiting for MLflow's answer which version spec.model means"
            return Models(None, (TrackingUnavailable.reason, message))
        self._models_known[key] = (about, models)
        return models

    async def _counters(
        self,
        service: ModelService,
        pods: tuple[ServingPod, ...],
        templates: Mapping[str, Object],
        route: Object | None,
        routes: Objects,
    ) -> _Counted:
        """Read only while a rollout asks for it. Where not the pods of both of its revisions tell counters, the gateway
        counts both: what only one of two ways sees would be a difference between the models.
        """
        status = service.status
        if status.rollout is None or service.spec.rollout.analysis is None or status.canary is None:
            return _Counted()
        canary = status.canary.revision
        of_gateway = await self._gateway_counters(route, routes, canary, "gateway")
        both = [revision.revision for revision in (status.stable, status.canary) if revision is not None]
        known = [templates[name] for name in both if name in templates]
        if all(metrics_in(template, self._settings.runtimes) is not None for template in known):
            return _Counted(of_pods=await self._scraper.of_pods(pods), of_gateway=of_gateway)
        at_gateway = {canary: of_gateway}
        if status.stable is not None:
            stable = status.stable.revision
            at_gateway[stable] = await self._gateway_counters(route, routes, stable, "stable-gateway")
        return _Counted(of_gateway=of_gateway, at_gateway=at_gateway)

    async def _gateway_counters(
        self, route: Object | None, routes: Objects, revision: str, called_there: str
    ) -> dict[str, Counters]:
        """A revision's, from each instance of the gateway; of a gateway that is not the release's there are none."""
        if route is None:
            return {}
        backend = backend_pattern(route, revision)
        if twin := next((other for other in routes if other is not route and is_alike(other, backend)), None):
            log.warning(
                "%s: the gateway's counters are not read: HTTPRoute %s has the same ones", called(route), called(twin)
            )
            return {}
        return await self._scraper.of_gateway(backend, called_there)

    async def _must_be_free(self, planned: Plan, owned: tuple[Owned, ...], uid: str) -> None:
        """Raises NotOurs when a name that is needed for the first time belongs to somebody else."""
        ours = {(known.resource, known.name) for known in owned}
        for resource, wanted in (*planned.creates, *planned.applies):
            namespace, name = wanted["metadata"]["namespace"], wanted["metadata"]["name"]
            if (resource, name) in ours:
                continue
            live = await self._client.get(resource, namespace, name)
            if live is not None and not is_owned(live, uid):
                raise NotOurs(not_ours(resource, live))

    # -- writing -------------------------------------------------------------------------------------------------------

    async def _say(self, service: ModelService, observed: Observed, reason: str, message: str) -> float:
        meta = service.metadata
        fresh = await self._client.get(MODELSERVICES, meta.namespace, meta.name)
        if fresh is not None and fresh["metadata"]["uid"] == meta.uid:
            current = ModelService.model_validate(fresh)
            phase = current.status.phase or Phase.PENDING
            said = current.status.model_copy(update={"phase": phase, "reason": reason, "message": message})
            status = finish_status(current, said, observed, self._now(), self._settings)
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
        if not promises.has_promises(service.status):
            return
        try:
            told, events = await promises.keep(service, self._ledger)
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

    async def _write(self, status: ModelServiceStatus, live: Object, events: tuple[Event, ...]) -> None:
        await apply(Plan(status=to_status_dict(status), events=events), self._client, MODELSERVICES, live)


def _weights(route: Object | None) -> dict[str, int] | None:
    """What the route gives each Service; None without a route."""
    if route is None:
        return None
    backends = (backend for rule in route["spec"].get("rules") or () for backend in rule.get("backendRefs") or ())
    return {backend["name"]: backend.get("weight", 1) for backend in backends}


def _without_untold(status: ModelServiceStatus) -> tuple[Condition, ...]:
    return tuple(condition for condition in status.conditions if condition.type != UNTOLD)
