"""The HTTPRoute: paths, what is taken off them, and the shares of the revisions."""

import pytest

from headrace.api.modelservice import Route
from headrace.rollout.route import render_route, route_path
from serving_builders import model_service

PARENT = {"name": "headrace", "namespace": "headrace-system"}


def rule(path=None, backends=(("text-1", 100),), **route):
    service = model_service(route={"parentRefs": [PARENT], "path": path} | route)
    return render_route(service, {"name": "text"}, backends)["spec"]


@pytest.mark.parametrize(
    ("asked", "path"), [(None, "/team-a/text"), ("/", "/"), ("/text", "/text"), ("/a/b/", "/a/b"), ("/text/", "/text")]
)
def test_the_path_is_the_asked_one_or_the_services_own(asked, path):
    assert route_path("team-a", "text", Route.model_validate({"parentRefs": [PARENT], "path": asked})) == path


def test_the_prefix_is_taken_off_before_the_server_sees_it():
    (filter_,) = rule("/text")["rules"][0]["filters"]

    assert filter_["urlRewrite"]["path"] == {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}


def test_a_route_of_everything_rewrites_nothing():
    assert "filters" not in rule("/")["rules"][0]


def test_a_revision_without_weight_is_no_backend():
    backends = rule(backends=(("text-1", 100), ("text-2", 0)))["rules"][0]["backendRefs"]

    assert backends == [{"name": "text-1", "port": 8080, "weight": 100}]


def test_gateways_and_hostnames_are_handed_on_as_they_were_given():
    spec = rule(hostnames=["text.example.com"])

    assert spec["parentRefs"] == [PARENT]
    assert spec["hostnames"] == ["text.example.com"]
