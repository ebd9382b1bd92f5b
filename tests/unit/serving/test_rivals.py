"""Which routes take each other's requests, and which stays."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.rollout.route import render_route
from headrace.serving.rivals import Rivals, called, rivals
from serving_builders import UID, model_service

NONE = Rivals([], [], [])
GATEWAY = [{"name": "headrace", "namespace": "headrace-system"}]


def route(namespace, path, hostnames=(), *, name="other", at="2030-01-01T10:00:00Z", parents=GATEWAY, uid="another"):
    """Somebody's route in the cluster."""
    service = model_service(route={"parentRefs": parents, "path": path, "hostnames": list(hostnames)})
    owner = {"uid": uid, "controller": True}
    metadata = {"name": name, "namespace": namespace, "creationTimestamp": at, "ownerReferences": [owner]}
    return render_route(service, metadata, ())


def ours(path="/team-a/text", hostnames=()):
    return model_service(route={"parentRefs": GATEWAY, "path": path, "hostnames": list(hostnames)})


def of_ours(path="/team-a/text", hostnames=(), *, at="2030-01-01T11:00:00Z", name="text"):
    """Our route in the cluster."""
    return route("team-a", path, hostnames, name=name, at=at, uid=UID)


def refused_by(service, other, own=None):
    return [called(found) for found in rivals(service, own, [other]).refusing]


def outranked_by(service, other, own):
    return [called(found) for found in rivals(service, own, [other]).outranking]


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

    assert refused_by(service, theirs) == [called(theirs)]


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

    assert rivals(service, None, [theirs]) == NONE


@pytest.mark.parametrize("theirs", ["/team-a/text/v2", "/team-a/text", "/team-a"])
def test_among_routes_without_hostnames_a_path_below_ones_own_namespace_comes_before_a_strangers_older_one(theirs):
    stranger = route("team-b", theirs)

    assert rivals(ours(), None, [stranger]) == Rivals([], [], [stranger])


@pytest.mark.parametrize("theirs", ["shop.example.com", "*.example.com"])
def test_a_path_below_ones_own_namespace_takes_no_hostname_from_who_has_it(theirs):
    """Nor when it is there already, as an earlier release of Headrace let it be."""
    shop, evil = route("shop", "/", [theirs]), ours("/team-a/x", ["shop.example.com"])

    assert refused_by(evil, shop) == ["shop/other"]
    assert outranked_by(evil, shop, of_ours("/team-a/x", ["shop.example.com"])) == ["shop/other"]
    assert refused_by(ours("/team-a/x", ["*.example.com"]), shop) == ["shop/other"]


@pytest.mark.parametrize(
    ("had", "asks"),
    [
        (of_ours(hostnames=["a.example.com"]), ours("/", ["a.example.com", "shop.example.com"])),  # a host more
        (of_ours("/mine", ["shop.example.com"]), ours("/", ["shop.example.com"])),  # a shorter path
        (of_ours(at="2020-01-01T00:00:00Z"), ours("/", ["shop.example.com"])),  # from no host to one
    ],
)
def test_whoever_changes_what_he_asks_for_comes_later_than_who_has_it_however_old_his_route_is(had, asks):
    shop = route("shop", "/v1", ["shop.example.com"], at="2030-01-01T11:59:00Z")

    found = rivals(asks, had, [shop])

    assert ([called(other) for other in found.refusing], found.outranking, found.yielding) == (["shop/other"], [], [])


def test_the_owner_of_a_hostname_is_not_refused_by_one_who_got_it_later():
    shop = of_ours("/", ["shop.example.com"], at="2029-01-01T00:00:00Z")
    evil = route("team-b", "/team-b/x", ["*.example.com"])

    assert rivals(ours("/", ["shop.example.com"]), shop, [evil]) == Rivals([], [], [evil])


def test_a_service_that_was_made_anew_comes_later_than_who_got_its_place_meanwhile():
    assert refused_by(ours("/", ["shop.example.com"]), route("team-b", "/", ["shop.example.com"])) == ["team-b/other"]


def test_of_the_same_age_the_alphabet_decides_and_ones_own_route_is_no_rival():
    own = of_ours(at="2030-01-01T10:00:00Z")

    assert outranked_by(ours(), route("team-a", "/team-a/text", name="another"), own) == ["team-a/another"]
    assert outranked_by(ours(), route("team-a", "/team-a/text", name="zebra"), own) == []
    assert rivals(ours(), own, [own]) == NONE


HOSTS = st.lists(st.sampled_from(["a.example.com", "*.example.com", "b.example.com"]), max_size=2, unique=True)
PATHS = st.sampled_from(["/", "/x", "/x/y", "/team-a/text", "/team-b", "/team-b/text"])


@given(st.tuples(PATHS, HOSTS), st.tuples(PATHS, HOSTS), st.integers(0, 1))
def test_of_two_routes_that_collide_exactly_one_stays(one, other, seconds):
    """Each side decides by itself: they never give way both, and never stay both."""
    first = route("team-a", *one, name="text", at="2030-01-01T10:00:01Z", uid="first")
    second = route("team-b", *other, name="text", at=f"2030-01-01T10:00:0{2 * seconds}Z", uid="second")

    def gives_way(mine, asked, theirs):
        service = model_service(route={"parentRefs": GATEWAY, "path": asked[0], "hostnames": asked[1]})
        uid, namespace = mine["metadata"]["ownerReferences"][0]["uid"], mine["metadata"]["namespace"]
        meta = service.metadata.model_copy(update={"uid": uid, "namespace": namespace})
        found = rivals(service.model_copy(update={"metadata": meta}), mine, [mine, theirs])
        return bool(found.outranking), bool(found.outranking or found.yielding)

    (one_goes, collides), (other_goes, other_collides) = gives_way(first, one, second), gives_way(second, other, first)

    assert collides == other_collides
    assert one_goes + other_goes == int(collides)
