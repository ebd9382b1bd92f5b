"""Which of Traefik's names are a route's backends, and which routes have the same ones."""

import pytest

from headrace.rollout.traefik import backend_pattern, is_alike

HASH = "0c3125c5629ac60e7563"


def route(namespace, name, *services, gateway="headrace"):
    rule = {"backendRefs": [{"name": service} for service in services]}
    return {
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"parentRefs": [{"namespace": "infra", "name": gateway}], "rules": [rule]},
    }


def counted(namespace, name, service):
    return (
        f"httproute-{namespace}-{name}-gw-infra-headrace-ep-web-0-{HASH}-svc-{namespace}-{service}-0@kubernetesgateway"
    )


OURS = route("a-b", "x", "x-1a2b")
PATTERN = backend_pattern(OURS, "x-1a2b")


def test_a_routes_own_backend_is_found():
    assert PATTERN.fullmatch(counted("a-b", "x", "x-1a2b"))
    assert not PATTERN.fullmatch(counted("a-b", "x", "x-9f9f"))


@pytest.mark.parametrize(
    "name", ["y-svc-a-b-x", f"x-gw-infra-headrace-ep-web-0-{HASH}-svc-a-b-x", "a-b-x", "svc-a-b-x-1a2b-0"]
)
def test_nobody_in_another_namespace_gets_into_it_by_the_name_of_a_service(name):
    """Anybody may name a service so that the end of its backend's name is that of ours."""
    assert not PATTERN.fullmatch(counted("evil", name, f"{name}-1a2b"))


@pytest.mark.parametrize(
    ("other", "alike"),
    [
        (route("a", "b-x", "b-x-9f9f", "b-x-1a2b"), True),
        (route("a", "b-x", "b-x-9f9f"), False),
        (route("a", "b-x", "b-x-1a2b", gateway="another"), False),
        (route("c", "x", "x-1a2b"), False),
    ],
)
def test_two_routes_whose_glued_names_are_one_are_alike(other, alike):
    assert is_alike(other, PATTERN) is alike
