"""Where clients find a service (pure)."""

from __future__ import annotations

from headrace.api.modelservice import ModelService
from headrace.rollout.route import HTTP_PORT, route_path
from headrace.serving.runtimes.render import model_path
from headrace.settings import Settings


def model_url(service: ModelService, runtime: str, settings: Settings) -> str:
    """Of the model in the protocol of this server, through the first hostname of its route, or within the cluster."""
    name = service.metadata.name
    return f"{_base(service, name)}{model_path(runtime, name, settings)}"


def explain_url(service: ModelService) -> str:
    name = service.metadata.name
    return f"{_base(service, explainer_name(name))}{explain_path(name)}"


def explain_path(service: str) -> str:
    """As KServe has it."""
    return f"/v2/models/{service}/explain"


def explainer_name(service: str) -> str:
    """Of an explainer's Deployment, Service and HTTPRoute. A revision's name ends in eight hexadecimal digits."""
    return f"{service}-explain"


def _base(service: ModelService, within: str) -> str:
    """`within` is the Service that answers in the cluster."""
    meta, route = service.metadata, service.spec.route
    if route is None:
        return f"http://{within}.{meta.namespace}.svc:{HTTP_PORT}"
    host = route.hostnames[0] if route.hostnames else "GATEWAY"
    return f"http://{host}{route_path(meta.namespace, meta.name, route).rstrip('/')}"
