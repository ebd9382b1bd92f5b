"""Which HTTPRoutes take each other's requests, and which of them stays (pure). Gateway status says nothing of it.

Two routes of one namespace collide where host and path are the same. Between namespaces it is enough that one path lies
below the other: the longer one gets the requests, whoever owns the shorter.

Who was there first stays, and whoever comes later is refused: whoever asks for hosts and paths that the route in the
cluster does not have yet comes later than everybody who has them, however old that route is. A path below its own
namespace belongs to the namespace, but only among routes without hostnames: a hostname belongs to no namespace.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from fnmatch import fnmatchcase

from headrace.api.modelservice import ModelService
from headrace.kube.keys import Key
from headrace.kube.ownership import is_owned
from headrace.kube.resources import MODELSERVICES, Object, Objects
from headrace.labels import MODEL_SERVICE
from headrace.rollout.route import render_route


@dataclass(frozen=True)
class Rivals:
    """Other services' routes that collide with a service's, the oldest first."""

    refusing: Objects  # they have what it asks for
    outranking: Objects  # they have what its route in the cluster has, and come before it
    yielding: Objects  # they come after its route


def rivals(service: ModelService, own: Object | None, routes: Objects) -> Rivals:
    """`own` is the service's route as it is in the cluster; None before there is one."""
    if service.spec.route is None:
        return Rivals([], [], [])
    wanted = render_route(service, {"namespace": service.metadata.namespace}, ())
    others = sorted((route for route in routes if not is_owned(route, service.metadata.uid)), key=_age)
    asked = [route for route in others if _collide(route, wanted)]
    held = [route for route in others if own is not None and _collide(route, own)]

    def comes_first(route: Object) -> bool:
        return not (_precedes(own, route) if own is not None and route in held else _is_at_home_alone(wanted, route))

    return Rivals(
        refusing=[route for route in asked if comes_first(route)],
        outranking=[route for route in held if comes_first(route)],
        yielding=[route for route in asked if not comes_first(route)],
    )


def called(route: Object) -> str:
    """NAMESPACE/NAME."""
    return f"{route['metadata']['namespace']}/{route['metadata']['name']}"


def service_of(route: Object) -> Key:
    """The ModelService whose route this is."""
    meta = route["metadata"]
    return Key(MODELSERVICES, meta["namespace"], meta["labels"][MODEL_SERVICE])


def _precedes(one: Object, other: Object) -> bool:
    """Of two routes that are both there: a namespace's own path, then Gateway API's order: age, and the alphabet."""
    if _is_at_home_alone(one, other) or _is_at_home_alone(other, one):
        return _is_at_home_alone(one, other)
    return _age(one) < _age(other)


def _age(route: Object) -> tuple[str, str, str]:
    meta = route["metadata"]
    return meta["creationTimestamp"], meta["namespace"], meta["name"]


def _is_at_home_alone(one: Object, other: Object) -> bool:
    """Neither has hostnames, and only the first one's path lies below its own namespace's."""
    hostless = not one["spec"].get("hostnames") and not other["spec"].get("hostnames")
    return hostless and _is_at_home(one) and not _is_at_home(other)


def _is_at_home(route: Object) -> bool:
    home = f"/{route['metadata']['namespace']}"
    return all(_is_below(path, home) for path in _paths(route))


def _collide(a: Object, b: Object) -> bool:
    same_namespace = a["metadata"]["namespace"] == b["metadata"]["namespace"]
    hosts_a, hosts_b = a["spec"].get("hostnames") or (), b["spec"].get("hostnames") or ()
    if not _share_listener(a, b) or not _share_host(hosts_a, hosts_b):
        return False
    # A host's own root beside routes for any host is how hosts are meant to be used.
    both_or_neither = bool(hosts_a) == bool(hosts_b)
    return any(
        one == other or (not same_namespace and (both_or_neither or "/" not in (one, other)) and _nested(one, other))
        for one in _paths(a)
        for other in _paths(b)
    )


def _share_listener(a: Object, b: Object) -> bool:
    def parents(route: Object) -> list[tuple[str, str, str | None]]:
        namespace = route["metadata"]["namespace"]
        refs = route["spec"].get("parentRefs") or ()
        return [(ref.get("namespace") or namespace, ref["name"], ref.get("sectionName")) for ref in refs]

    return any(
        one[:2] == other[:2] and (one[2] == other[2] or None in (one[2], other[2]))
        for one in parents(a)
        for other in parents(b)
    )


def _share_host(a: Collection[str], b: Collection[str]) -> bool:
    """No hosts means every host; `*.example.com` means those below it."""
    return not a or not b or any(fnmatchcase(x, y) or fnmatchcase(y, x) for x in a for y in b)


def _nested(a: str, b: str) -> bool:
    return _is_below(a, b) or _is_below(b, a)


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _paths(route: Object) -> set[str]:
    return {
        match.get("path", {}).get("value", "/")
        for rule in route["spec"].get("rules") or ()
        for match in rule.get("matches") or ()
    }
