"""Derives the parts of a ModelService's status: conditions, columns, the URL (pure)."""

from __future__ import annotations

from datetime import datetime

from headrace.api.meta import Condition
from headrace.api.modelservice import (
    ModelService,
    ModelServiceStatus,
    Phase,
    Revision,
    ServiceColumns,
    Verdict,
    to_status_dict,
)
from headrace.conditions import Fact, conditions
from headrace.kube.resources import Object
from headrace.labels import MODEL_SERVICE_UID, REVISION
from headrace.serving.addresses import model_url
from headrace.serving.explainer.condition import EXPLAINER_READY, explainer_fact
from headrace.serving.guard import SIGNATURE_ACCEPTED, signature_fact
from headrace.serving.judged import FORMAT_JUDGED, judged_fact
from headrace.serving.observed import Observed
from headrace.serving.runtimes.condition import POD_COUNTERS, counters_fact
from headrace.serving.served import runtime_of
from headrace.serving.target import SIGNATURE_DIFFERS, named
from headrace.settings import Settings

NOT_ANSWERED = (
    "no Gateway has reported on the HTTPRoute (condition Accepted); check that the Gateway in spec.route.parentRefs "
    "exists (in the service's own namespace, unless parentRefs names another) and has a controller"
)


def pods_serving(stable: Revision) -> str:
    """How many pods of the stable revision serve, and what."""
    serve = "and serve" if stable.ready_replicas > 0 else "to serve"
    return f"{stable.ready_replicas} of {stable.replicas} pods are ready {serve} {named(stable)}"


def route_refused(observed: Observed) -> str:
    """What a Gateway has against the route."""
    hint = "check spec.route, and hostnames and allowedRoutes of the Gateway's listeners"
    return f"the Gateway does not accept the HTTPRoute: {observed.route_message}; {hint}"


def finish_status(
    service: ModelService, status: ModelServiceStatus, observed: Observed, now: datetime, settings: Settings
) -> Object:
    """The status as it is written; every text cut to its bound."""
    # What spec.scaling.replicas speaks of; before anything is stable, what is going to be.
    scaled = status.stable or status.canary
    complete = status.model_copy(
        update={
            "observed_generation": service.metadata.generation,
            "conditions": _conditions(service, status, observed, now, settings),
            "columns": _columns(service, status, observed, settings),
            "url": _url(service, status, observed, settings),
            "replicas": len(observed.pods_of(scaled.revision)) if scaled is not None else 0,
            "selector": f"{MODEL_SERVICE_UID}={service.metadata.uid},{REVISION}={scaled.revision}" if scaled else None,
        }
    )
    return to_status_dict(complete)


def _conditions(
    service: ModelService, status: ModelServiceStatus, observed: Observed, now: datetime, settings: Settings
) -> tuple[Condition, ...]:
    reason, message = status.reason or "Unknown", status.message or ""
    stable = status.stable
    routed, route_reason, route_message = route_fact(service, status, observed, settings)
    serves = _serves(stable, routed)
    unrouted = _serves(stable, True) and not serves
    under_way = status.phase in (Phase.PENDING, Phase.CANARYING, Phase.PROMOTING, Phase.ROLLING_BACK)
    degraded = (
        status.phase in (Phase.FAILED, Phase.ROLLED_BACK, Phase.ROLLING_BACK)
        or status.reason == SIGNATURE_DIFFERS
        or (stable is not None and stable.ready_replicas < stable.replicas)
    )
    problem = observed.artifact_problem
    pods = pods_serving(stable) if stable is not None else ""
    short = message if message.startswith(pods) else f"{pods}; {message}"
    why = ("Serving", pods) if serves else (route_reason, route_message) if unrouted else (reason, short)
    facts: dict[str, Fact] = {
        "Ready": (serves, *why),
        "Progressing": (under_way, reason, message if under_way else "no rollout is under way"),
        "Degraded": (degraded, reason, short if degraded else pods or "nothing serves yet, and nothing has failed"),
        "ModelResolved": (problem is None, *(problem or ("Resolved", _resolved(observed)))),
        "RouteAccepted": (routed, route_reason, route_message),
    }
    at_times: dict[str, Fact | None] = {
        EXPLAINER_READY: explainer_fact(service, status, observed, settings),
        FORMAT_JUDGED: judged_fact(service, status, observed, settings),
        POD_COUNTERS: counters_fact(service, status, observed, settings),
    }
    if observed.artifact is not None:  # else it is not known what the candidate is: what was said of it stays
        at_times[SIGNATURE_ACCEPTED] = signature_fact(service, status, observed.artifact)
    facts |= {kind: fact for kind, fact in at_times.items() if fact is not None}
    before = tuple(one for one in service.status.conditions if at_times.get(one.type, ()) is not None)
    return conditions(facts, before, service.metadata.generation, now)


def _url(service: ModelService, status: ModelServiceStatus, observed: Observed, settings: Settings) -> str:
    """Of what answers: while another server is rolled out, that is the old one."""
    return model_url(service, runtime_of(service, status.stable, observed, settings), settings)


def _serves(stable: Revision | None, routed: bool | None) -> bool:
    """Whether requests are answered: a pod is ready, and they get there."""
    return stable is not None and stable.ready_replicas > 0 and routed is True


def _resolved(observed: Observed) -> str:
    """What spec.model means."""
    artifact = observed.artifact
    if artifact is None:
        return "spec.model is resolved"
    if artifact.version:
        return f"spec.model is version {artifact.version} of model {artifact.model}, digest {artifact.digest}"
    return f"spec.model is {artifact.uri}"


def route_fact(service: ModelService, status: ModelServiceStatus, observed: Observed, settings: Settings) -> Fact:
    """Whether requests get to the pods by the route, if one is asked for: what the condition RouteAccepted says."""
    if service.spec.route is None:
        return (
            True,
            "NoRoute",
            f"spec.route is not set: reachable in the cluster only, at {_url(service, status, observed, settings)}",
        )
    if not observed.gateway_api:
        return False, "GatewayAPIMissing", "the cluster has no HTTPRoute: install the Gateway API's standard CRDs"
    if observed.route_conflict:
        stays = "; until then the route that this service had before stays in place" if observed.route_kept else ""
        message = (
            f"HTTPRoute {observed.route_conflict} has this host and path already: choose another spec.route.path "
            f"or hostname{stays}"
        )
        return False, "RouteConflict", message
    if status.stable is None:
        return None, "NotYet", "the HTTPRoute is created when the first pod is ready"
    if observed.route_accepted is None:
        return None, "RoutePending", NOT_ANSWERED
    if not observed.route_accepted:
        return False, "RouteRefused", route_refused(observed)
    return True, "Accepted", observed.route_behind or f"HTTPRoute {service.metadata.name} is accepted by its Gateway"


def _columns(
    service: ModelService, status: ModelServiceStatus, observed: Observed, settings: Settings
) -> ServiceColumns:
    stable, canary, rollout = status.stable, status.canary, status.rollout
    shown = "-"
    if canary is not None and stable is not None and rollout is not None:
        shown = f"{_version(canary)} {rollout.applied_weight}% {min(rollout.step, rollout.steps)}/{rollout.steps}"
    routed, _, _ = route_fact(service, status, observed, settings)
    ready = _serves(stable, routed)
    digest = stable.digest.removeprefix("sha256:")[:12] if stable and stable.digest else "-"
    wanted = (stable.replicas if stable else 0) + (canary.replicas if canary else 0)
    there = (stable.ready_replicas if stable else 0) + (canary.ready_replicas if canary else 0)
    return ServiceColumns(
        ready=str(ready),
        stable=_version(stable) if stable else "-",
        canary=shown,
        verdict=_verdict(status),
        replicas=f"{there}/{wanted}",
        runtime=service.spec.runtime.name,
        digest=digest,
    )


def _version(revision: Revision) -> str:
    return revision.model.version if revision.model and revision.model.version else revision.revision.rpartition("-")[2]


def _verdict(status: ModelServiceStatus) -> str:
    checks = status.rollout.checks if status.rollout else ()
    if not checks:
        return "-"
    if failing := next((check for check in checks if check.verdict is Verdict.FAIL), None):
        return f"{failing.name}: {failing.message}"
    passed = sum(check.verdict is Verdict.PASS for check in checks)
    waiting = len(checks) - passed
    return f"{passed} pass" + (f", {waiting} waiting" if waiting else "")
