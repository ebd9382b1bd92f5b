"""Renders the HTTPRoute of a ModelService (pure). Its rules are atomic lists: Headrace owns the whole object."""

from __future__ import annotations

from headrace.api.modelservice import ModelService, Route
from headrace.kube.resources import Object

HTTP_PORT = 8080


def route_path(namespace: str, name: str, route: Route) -> str:
    """The path prefix that clients use: two services never collide unless somebody asks for it."""
    return (route.path or f"/{namespace}/{name}").rstrip("/") or "/"


def render_route(service: ModelService, metadata: Object, backends: tuple[tuple[str, int], ...]) -> Object:
    """The route with (Service name, weight) backends; a backend without weight is left out."""
    route = service.spec.route
    assert route is not None
    path = route_path(service.metadata.namespace, service.metadata.name, route)
    parents = [parent.model_dump(by_alias=True, exclude_none=True) for parent in route.parent_refs]
    rule: Object = {
        "matches": [{"path": {"type": "PathPrefix", "value": path}}],
        "backendRefs": _backend_refs(backends),
    }
    if path != "/":
        rewrite = {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}}
        rule["filters"] = [{"type": "URLRewrite", "urlRewrite": rewrite}]
    spec: Object = {"parentRefs": parents, "rules": [rule]}
    if route.hostnames:
        spec["hostnames"] = list(route.hostnames)
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": metadata,
        "spec": spec,
    }


def divide_anew(route: Object, metadata: Object, backends: tuple[tuple[str, int], ...]) -> Object:
    """A route of ours as it is in the cluster, with these backends: its hosts and paths stay what they are."""
    rules = [rule | {"backendRefs": _backend_refs(backends)} for rule in route["spec"]["rules"]]
    return {
        "apiVersion": route["apiVersion"],
        "kind": route["kind"],
        "metadata": metadata,
        "spec": route["spec"] | {"rules": rules},
    }


def _backend_refs(backends: tuple[tuple[str, int], ...]) -> list[Object]:
    return [{"name": name, "port": HTTP_PORT, "weight": weight} for name, weight in backends if weight > 0]
