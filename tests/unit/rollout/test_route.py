"""The HTTPRoute: paths, what is taken off them, and the shares of the revisions."""

import pytest

from headrace.api.modelservice import Route
from headrace.rollout.route import acceptance, behind, render_route, route_path
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


# --- what the gateways say --------------------------------------------------------------------------------------------


def answered(*parents, generation=5):
    """A route with, by parent, its conditions: type, status, observed generation."""
    said = [
        {
            "parentRef": {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": f"gateway-{number}"},
            "conditions": [
                {"type": t, "status": s, "observedGeneration": g, "message": f"{t} is {s}"} for t, s, g in parent
            ],
        }
        for number, parent in enumerate(parents)
    ]
    asked = [{"name": f"gateway-{number}"} for number in range(len(parents))]
    return {"metadata": {"generation": generation}, "spec": {"parentRefs": asked}, "status": {"parents": said}}


GOOD = (("Accepted", "True", 5), ("ResolvedRefs", "True", 5))
UNRESOLVED = (("Accepted", "True", 5), ("ResolvedRefs", "False", 5))


@pytest.mark.parametrize(
    ("route", "accepted", "why"),
    [
        (None, None, ""),
        ({"metadata": {"generation": 1}}, None, ""),
        (answered(()), None, ""),
        (answered((("Accepted", "Unknown", 5),)), None, ""),
        (answered(GOOD), True, ""),
        (answered(UNRESOLVED), False, "ResolvedRefs: ResolvedRefs is False"),
        (answered(GOOD, (("Accepted", "False", 5),)), False, "Accepted: Accepted is False"),
        (answered((*GOOD, ("PartiallyInvalid", "False", 5))), True, ""),
    ],
)
def test_a_route_is_accepted_when_no_gateway_refuses_it_and_all_it_refers_to_is_there(route, accepted, why):
    assert acceptance(route) == (accepted, why)


@pytest.mark.parametrize(
    ("route", "said"),
    [
        (None, ""),
        (answered(GOOD), ""),
        (answered(GOOD, generation=6), "Accepted is for generation 5, and the HTTPRoute has generation 6"),
        (
            answered((("Accepted", "True", 5), ("ResolvedRefs", "True", 4))),
            "ResolvedRefs is for generation 4, and the HTTPRoute has generation 5",
        ),
        ({"metadata": {"generation": 2}, "status": {"parents": [{"conditions": [{"type": "Accepted"}]}]}}, ""),
    ],
)
def test_a_gateway_that_speaks_of_an_earlier_generation_is_behind(route, said):
    assert behind(route).removeprefix("HTTPRoute not programmed yet: the Gateway's condition ") == said


def test_what_a_gateway_said_that_the_route_has_no_more_does_not_count():
    route = answered((("Accepted", "False", 4),), GOOD)
    route["spec"]["parentRefs"] = route["spec"]["parentRefs"][1:]

    assert (acceptance(route), behind(route)) == ((True, ""), "")
