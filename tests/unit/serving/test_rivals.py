"""Which routes take each other's requests, and which stays."""

import pytest

from headrace.rollout.route import render_route
from headrace.serving.rivals import called, rivals
from serving_builders import UID, model_service

GATEWAY = [{"name": "headrace", "namespace": "headrace-system"}]


def route(namespace, path, hostnames=(), *, name="other", at="2030-01-01T10:00:00Z", parents=GATEWAY, uid="another"):
    """Somebody's route in the cluster."""
    service = model_service(route={"parentRefs": parents, "path": path, "hostnames": list(hostnames)})
    owner = {"uid": uid, "controller": True}
    metadata = {"name": name, "namespace": namespace, "creationTimestamp": at, "ownerReferences": [owner]}
    return render_route(service, metadata, ())


def ours(path="/team-a/text", hostnames=()):
    return model_service(route={"parentRefs": GATEWAY, "path": path, "hostnames": list(hostnames)})


def outranked_by(service, other, own=None):
    above, _ = rivals(service, own, [other])
    return [called(found) for found in above]


@pytest.mark.parametrize(
    ("theirs", "our_hosts"),
    [
        (route("team-a", "/team-a/text"), ()),
        (route("team-b", "/x", ["a.example.com"]), ["a.example.com"]),
        (route("team-b", "/x/v2", ["a.example.com"]), ["a.example.com"]),
        (route("team-b", "/", ["a.example.com"]), ["a.example.com"]),
        (route("team-b", "/x", ["*.example.com"]), ["a.example.com"]),
    ],
)
def test_the_older_of_two_that_take_each_others_requests_stays(theirs, our_hosts):
    service = ours(path="/x" if our_hosts else "/team-a/text", hostnames=our_hosts)

    assert outranked_by(service, theirs) == [called(theirs)]


@pytest.mark.parametrize(
    ("theirs", "our_hosts"),
    [
        (route("team-a", "/team-a/text/v2"), ()),  # of one namespace: as its people want it
        (route("team-b", "/team-a/textual"), ()),
        (route("team-b", "/", ["a.example.com"]), ()),  # a host's root takes nothing that was asked of no host
        (route("team-b", "/x", ["b.example.com"]), ["a.example.com"]),
        (route("team-b", "/x", ["a.example.com"], parents=[{"name": "another"}]), ["a.example.com"]),
    ],
)
def test_routes_that_leave_each_other_alone_are_no_rivals(theirs, our_hosts):
    service = ours(path="/x" if our_hosts else "/team-a/text", hostnames=our_hosts)

    assert rivals(service, None, [theirs]) == ([], [])


@pytest.mark.parametrize("theirs", ["/team-a/text/v2", "/team-a/text", "/team-a"])
def test_a_path_below_ones_own_namespace_outranks_a_strangers_older_route(theirs):
    stranger = route("team-b", theirs, ["gateway.example.com"])

    above, below = rivals(ours(), None, [stranger])

    assert (above, [called(found) for found in below]) == ([], ["team-b/other"])


def test_of_the_same_age_the_alphabet_decides_and_ones_own_route_is_no_rival():
    own = route("team-a", "/team-a/text", name="text", uid=UID)

    assert outranked_by(ours(), route("team-a", "/team-a/text", name="another"), own) == ["team-a/another"]
    assert outranked_by(ours(), route("team-a", "/team-a/text", name="zebra"), own) == []
    assert rivals(ours(), own, [own]) == ([], [])
