"""The HTTPRoute of a ModelService (pure): renders it, and reads what the gateways say of it.

Its rules are atomic lists: Headrace owns the whole object.
"""

from __future__ import annotations

from collections.abc import Iterator

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
    rule: Object = {
        "matches": [{"path": {"type": "PathPrefix", "value": path}}],
        "backendRefs": _backend_refs(backends),
    }
    if path != "/":
        rewrite = {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}}
        rule["filters"] = [{"type": "URLRewrite", "urlRewrite": rewrite}]
    return _with_rule(route, metadata, rule)


def render_path_route(service: ModelService, metadata: Object, path: str, backend: str) -> Object:
    """A route of one path of the service's server, to another Service than the revisions' ones. It is beside the
    service's own route, which stays what it is: of two that fit, a Gateway takes the exact path.
    """
    route = service.spec.route
    assert route is not None
    prefix = route_path(service.metadata.namespace, service.metadata.name, route).rstrip("/")
    rule: Object = {
        "matches": [{"path": {"type": "Exact", "value": f"{prefix}{path}"}}],
        "backendRefs": _backend_refs(((backend, 100),)),
    }
    if prefix:
        rewrite = {"path": {"type": "ReplaceFullPath", "replaceFullPath": path}}
        rule["filters"] = [{"type": "URLRewrite", "urlRewrite": rewrite}]
    return _with_rule(route, metadata, rule)


def _with_rule(route: Route, metadata: Object, rule: Object) -> Object:
    parents = [parent.model_dump(by_alias=True, exclude_none=True) for parent in route.parent_refs]
    spec: Object = {"parentRefs": parents, "rules": [rule]}
    if route.hostnames:
        spec["hostnames"] = list(route.hostnames)
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": metadata,
        "spec": spec,
    }


def acceptance(route: Object | None) -> tuple[bool | None, str]:
    """What the gateways say of the route: every parent has to accept it and resolve its references."""
    conditions = list(_conditions(route))
    for condition in conditions:
        if condition.get("status") == "False":
            why = condition.get("message") or condition.get("reason") or "the Gateway gives no reason"
            return False, f"{condition['type']}: {why}"
    is_accepted = any((condition["type"], condition.get("status")) == ("Accepted", "True") for condition in conditions)
    return (True if is_accepted else None), ""


def behind(route: Object | None) -> str:
    """Which condition speaks of an earlier generation, and of which: that gateway has not taken up the newest one."""
    generation = (route or {}).get("metadata", {}).get("generation", 0)
    for condition in _conditions(route):
        if (seen := condition.get("observedGeneration", generation)) < generation:
            return (
                f"HTTPRoute not programmed yet: the Gateway's condition {condition['type']} is for generation {seen}, "
                f"and the HTTPRoute has generation {generation}"
            )
    return ""


def _conditions(route: Object | None) -> Iterator[Object]:
    """Of the parents that the route has now: one that it had before may keep its last words for good."""
    asked = ((route or {}).get("spec") or {}).get("parentRefs") or ()
    for parent in ((route or {}).get("status") or {}).get("parents") or ():
        if not any(_is_same_parent(parent.get("parentRef") or {}, ref, route or {}) for ref in asked):
            continue
        for condition in parent.get("conditions") or ():
            if condition["type"] in ("Accepted", "ResolvedRefs"):
                yield condition


def _is_same_parent(told: Object, asked: Object, route: Object) -> bool:
    """A parent reference of status and one of spec, with the defaults that Gateway API gives an absent field."""
    defaults = {
        "group": "gateway.networking.k8s.io",
        "kind": "Gateway",
        "namespace": (route.get("metadata") or {}).get("namespace"),
        "name": None,
        "sectionName": None,
        "port": None,
    }
    return all(told.get(field, default) == asked.get(field, default) for field, default in defaults.items())


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
