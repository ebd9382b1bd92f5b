"""What Traefik calls a route's backends in its counters, and when that name is not one route's alone (pure).

Its Gateway provider glues names with dashes:
httproute-NAMESPACE-ROUTE-gw-NAMESPACE-GATEWAY-ep-ENTRYPOINT-RULE-HASH-svc-NAMESPACE-SERVICE-INDEX@kubernetesgateway.
Service `b-x` of namespace `a` and `x` of `a-b` are one but for the hash, and what is hashed is Traefik's own affair: it
changed between 3.7.9 and 3.7.15. Names with dots lose them to dashes.
"""

from __future__ import annotations

import re

from headrace.kube.resources import Object


def backend_pattern(route: Object, service: str) -> re.Pattern[str]:
    """Matches the names under which Traefik counts what it sent for an HTTPRoute of ours to one of its Services."""
    namespace, name = route["metadata"]["namespace"], route["metadata"]["name"]
    gateways = "|".join(_gateways(route))
    return re.compile(
        f"httproute-{_glued(namespace, name)}-gw-(?:{gateways})-ep-[a-z0-9]+-[0-9]+-[0-9a-f]+"
        f"-svc-{_glued(namespace, service)}-[0-9]+@kubernetesgateway"
    )


def is_alike(route: Object, pattern: re.Pattern[str]) -> bool:
    """Whether Traefik counts what it sends for this other route under a name that the pattern matches too."""
    namespace, name = route["metadata"]["namespace"], route["metadata"]["name"]
    services = {ref["name"] for rule in route["spec"].get("rules") or () for ref in rule.get("backendRefs") or ()}
    return any(
        pattern.fullmatch(
            f"httproute-{_glued(namespace, name)}-gw-{gateway}-ep-web-0-0-svc-{_glued(namespace, service)}-0"
            "@kubernetesgateway"
        )
        for gateway in _gateways(route)
        for service in services
    )


def _gateways(route: Object) -> list[str]:
    namespace = route["metadata"]["namespace"]
    return [_glued(ref.get("namespace") or namespace, ref["name"]) for ref in route["spec"].get("parentRefs") or ()]


def _glued(*names: str) -> str:
    return re.sub("[^a-z0-9]+", "-", "-".join(names))
