"""Plans an explainer from what the service's own plan has decided (pure)."""

from __future__ import annotations

from headrace.api.modelservice import ModelService, ModelServiceStatus
from headrace.kube.plan import Delete, Plan
from headrace.kube.resources import DEPLOYMENTS, HTTPROUTES, SERVICES, Object, Resource
from headrace.serving.explainer.condition import is_explainable
from headrace.serving.explainer.objects import render_deployment, render_route, render_service
from headrace.serving.observed import Observed
from headrace.settings import Settings


def plan_explainer(service: ModelService, status: ModelServiceStatus, observed: Observed, settings: Settings) -> Plan:
    """Explains what is stable by `status`: a canary may be taken back. Without spec.explain there is nothing of it."""
    applies = _applies(service, status, observed, settings)
    wanted = {(resource, obj["metadata"]["name"]) for resource, obj in applies}
    deletes = tuple(
        Delete(owned.resource, service.metadata.namespace, owned.name, owned.uid)
        for owned in observed.explainer.owned
        if (owned.resource, owned.name) not in wanted
    )
    return Plan(applies=applies, deletes=deletes)


def _applies(
    service: ModelService, status: ModelServiceStatus, observed: Observed, settings: Settings
) -> tuple[tuple[Resource, Object], ...]:
    explain, stable = service.spec.explain, status.stable
    if explain is None or stable is None or not is_explainable(service, stable, observed, settings):
        return ()
    objects = [
        (DEPLOYMENTS, render_deployment(service, explain, stable, settings)),
        (SERVICES, render_service(service, stable)),
    ]
    # Where the service's own route is somebody else's, a path below it is not for the explainer either.
    if service.spec.route is not None and observed.gateway_api and not observed.route_conflict:
        objects.append((HTTPROUTES, render_route(service, stable)))
    return tuple(objects)
