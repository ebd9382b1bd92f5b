"""Reads, writes and whole plans on a real API server."""

import asyncio
import copy
from dataclasses import replace

import pytest

from faults import FaultyClient, Killed
from headrace.kube import client as client_module
from headrace.kube.apply import apply
from headrace.kube.client import KubeClient
from headrace.kube.errors import Conflict, Forbidden, Invalid, KindNotFound, NotOurs
from headrace.kube.events import EventRecorder
from headrace.kube.ownership import controller_reference, is_owned
from headrace.kube.plan import Delete, Event, EventType, Patch, Plan
from headrace.kube.resources import CONFIGMAPS, DEPLOYMENTS, EVENTS, JOBS, SERVICES
from integration import widget_operator
from integration.kube_fixtures import GADGETS, LABEL, WIDGETS, install


@pytest.fixture(scope="module")
def plane(control_plane):
    install(control_plane, WIDGETS)
    return control_plane


@pytest.fixture
def with_client(plane):
    """Runs a coroutine function with a client of a cluster administrator."""

    def run(use, kubeconfig=None):
        async def main():
            async with asyncio.timeout(60), KubeClient.session(kubeconfig or plane.kubeconfig) as client:
                return await use(client)

        return asyncio.run(main())

    return run


def configmap(namespace, name="x", owner=None, **data):
    metadata = {"namespace": namespace, "name": name, "labels": {LABEL: "w"}}
    if owner is not None:
        metadata["ownerReferences"] = [
            controller_reference(WIDGETS, owner["metadata"]["name"], owner["metadata"]["uid"])
        ]
    return {"metadata": metadata, "data": data}


def widget(namespace, name="w", **spec):
    return {"metadata": {"namespace": namespace, "name": name}, "spec": spec}


POD_TEMPLATE = {
    "metadata": {"labels": {"app": "x"}},
    "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "none"}]},
}
SERVING_TEMPLATE = {**POD_TEMPLATE, "spec": {"containers": POD_TEMPLATE["spec"]["containers"]}}
KEPT = {
    "ConfigMap": (CONFIGMAPS, {"data": {"a": "b"}}),
    "Service": (SERVICES, {"spec": {"selector": {"app": "x"}, "ports": [{"port": 80}]}}),
    "Job": (JOBS, {"spec": {"completions": 2, "completionMode": "Indexed", "template": POD_TEMPLATE}}),
    "Deployment": (DEPLOYMENTS, {"spec": {"selector": {"matchLabels": {"app": "x"}}, "template": SERVING_TEMPLATE}}),
    "Widget": (WIDGETS, {"spec": {"size": 1}}),
}


@pytest.mark.parametrize(("resource", "content"), KEPT.values(), ids=KEPT.keys())
def test_a_repeated_apply_is_no_write(with_client, namespace, resource, content):
    wanted = {"metadata": {"namespace": namespace, "name": "x"}, **content}

    async def use(client):
        first = await client.apply(resource, wanted)
        second = await client.apply(resource, wanted)
        # Controllers write status meanwhile; what is wanted is in `generation`, and only we write that.
        return first["metadata"], second["metadata"]

    first, second = with_client(use)
    assert second.get("generation") == first.get("generation")
    if resource in (CONFIGMAPS, SERVICES, WIDGETS):
        assert second["resourceVersion"] == first["resourceVersion"]


def test_a_field_that_is_applied_no_longer_is_removed(with_client, namespace):
    async def use(client):
        await client.apply(CONFIGMAPS, configmap(namespace, a="1", b="2"))
        return await client.apply(CONFIGMAPS, configmap(namespace, a="1"))

    assert with_client(use)["data"] == {"a": "1"}


def test_an_object_that_exists_is_not_created_again(with_client, namespace):
    async def use(client):
        assert await client.get(CONFIGMAPS, namespace, "x") is None
        await client.create(CONFIGMAPS, configmap(namespace))
        await client.create(CONFIGMAPS, configmap(namespace))

    with pytest.raises(Conflict) as raised:
        with_client(use)
    assert raised.value.reason == "AlreadyExists"


def test_an_apply_with_a_uid_changes_that_object_or_none(with_client, namespace):
    async def use(client):
        wanted = configmap(namespace)
        wanted["metadata"]["uid"] = "00000000-0000-0000-0000-000000000000"
        with pytest.raises(Conflict):
            await client.apply(CONFIGMAPS, wanted)
        assert await client.get(CONFIGMAPS, namespace, "x") is None

    with_client(use)


def test_a_status_is_replaced_as_a_whole(with_client, namespace):
    async def use(client):
        made = await client.create(WIDGETS, widget(namespace))
        made = await client.patch_status(WIDGETS, made, {"phase": "Running", "message": "almost"})
        made = await client.patch_status(WIDGETS, made, {"phase": "Done"})
        assert made["status"] == {"phase": "Done"}

    with_client(use)


def test_a_status_computed_from_an_older_object_is_refused(with_client, namespace):
    async def use(client):
        old = await client.create(WIDGETS, widget(namespace))
        await client.merge_patch(WIDGETS, namespace, "w", {"spec": {"size": 2}})
        with pytest.raises(Conflict, match=f"PUT status of Widget {namespace}/w: 409"):
            await client.patch_status(WIDGETS, old, {"phase": "Stale"})

    with_client(use)


def test_a_status_for_an_object_that_was_made_anew_is_refused(with_client, namespace):
    async def use(client):
        old = await client.create(WIDGETS, widget(namespace))
        await client.delete(WIDGETS, namespace, "w", uid=old["metadata"]["uid"])
        new = await client.create(WIDGETS, widget(namespace))
        mixed = copy.deepcopy(new)
        mixed["metadata"]["uid"] = old["metadata"]["uid"]
        with pytest.raises(Conflict):
            await client.patch_status(WIDGETS, mixed, {"phase": "Wrong"})

    with_client(use)


def test_only_the_very_object_that_was_seen_is_deleted(with_client, namespace):
    async def use(client):
        made = await client.create(CONFIGMAPS, configmap(namespace))
        uid, version = made["metadata"]["uid"], made["metadata"]["resourceVersion"]
        with pytest.raises(Conflict):
            await client.delete(CONFIGMAPS, namespace, "x", uid="00000000-0000-0000-0000-000000000000")
        await client.merge_patch(CONFIGMAPS, namespace, "x", {"data": {"a": "changed"}})
        with pytest.raises(Conflict):
            await client.delete(CONFIGMAPS, namespace, "x", uid=uid, resource_version=version)
        assert await client.get(CONFIGMAPS, namespace, "x") is not None
        await client.delete(CONFIGMAPS, namespace, "x", uid=uid)
        assert await client.get(CONFIGMAPS, namespace, "x") is None
        await client.delete(CONFIGMAPS, namespace, "x", uid=uid)

    with_client(use)


def test_a_list_has_all_pages_and_only_what_the_selector_matches(with_client, namespace, monkeypatch):
    monkeypatch.setattr(client_module, "PAGE_SIZE", 2)

    async def use(client):
        for number in range(5):
            await client.create(CONFIGMAPS, configmap(namespace, f"x{number}"))
        other = configmap(namespace, "other")
        other["metadata"]["labels"] = {}
        await client.create(CONFIGMAPS, other)
        return await client.list(CONFIGMAPS, namespace, f"{LABEL}=w")

    assert [obj["metadata"]["name"] for obj in with_client(use)] == [f"x{number}" for number in range(5)]


def test_of_a_kind_that_is_not_installed_no_object_counts_as_gone(with_client, namespace):
    async def use(client):
        with pytest.raises(KindNotFound):
            await client.get(GADGETS, namespace, "g")
        with pytest.raises(KindNotFound):
            await client.delete(GADGETS, namespace, "g", uid="u")
        with pytest.raises(KindNotFound):
            await client.list(GADGETS)

    with_client(use)


def test_missing_rights_are_told_with_verb_and_object(with_client, plane, namespace):
    nobody = plane.kubeconfig_for("nobody")

    with pytest.raises(Forbidden, match=rf"POST ConfigMap {namespace}/x: 403 Forbidden: .*cannot create"):
        with_client(lambda client: client.create(CONFIGMAPS, configmap(namespace)), nobody)


def test_an_object_that_the_api_does_not_accept_is_invalid(with_client, namespace):
    with pytest.raises(Invalid, match=r"spec\.ports"):
        with_client(lambda client: client.create(SERVICES, {"metadata": {"namespace": namespace, "name": "x"}}))


# -- plans -------------------------------------------------------------------------------------------------------------

DONE = Event(EventType.NORMAL, "Done", "Everything is there.")


async def everything(client, namespace):
    """A widget, two objects of it that are in the way, and a plan with one act of each sort."""
    owner = await client.create(WIDGETS, widget(namespace))
    old = await client.create(CONFIGMAPS, configmap(namespace, "old", owner))
    await client.create(CONFIGMAPS, configmap(namespace, "patched", owner, a="1"))
    plan = Plan(
        status={"phase": "Running"},
        creates=((CONFIGMAPS, configmap(namespace, "created", owner)),),
        applies=((CONFIGMAPS, configmap(namespace, "applied", owner, a="1")),),
        patches=(Patch(CONFIGMAPS, namespace, "patched", {"data": {"a": "2"}}),),
        deletes=(Delete(CONFIGMAPS, namespace, "old", old["metadata"]["uid"]),),
        events=(DONE,),
        requeue_after=7.0,
    )
    return owner, plan


async def seen(client, namespace):
    """What counts of the result: names and data of the objects, the status, the Events."""
    found = await client.list(CONFIGMAPS, namespace, LABEL)
    live = await client.get(WIDGETS, namespace, "w")
    events = await client.list(EVENTS, namespace)
    return (
        {obj["metadata"]["name"]: obj.get("data") for obj in found},
        live.get("status"),
        sorted(event["reason"] for event in events),
    )


RESULT = ({"created": None, "applied": {"a": "1"}, "patched": {"a": "2"}}, {"phase": "Running"}, ["Done"])


def test_a_plan_is_carried_out_status_first_and_again_changes_nothing(with_client, namespace):
    async def use(client):
        owner, plan = await everything(client, namespace)
        counting = FaultyClient.around(client)
        assert await apply(plan, counting, WIDGETS, owner) == 7.0
        assert counting.writes == 6
        assert await seen(client, namespace) == RESULT
        live = await client.get(WIDGETS, namespace, "w")
        before = await client.list(CONFIGMAPS, namespace)
        await apply(plan, client, WIDGETS, live)
        assert await client.get(WIDGETS, namespace, "w") == live
        assert await client.list(CONFIGMAPS, namespace) == before

    with_client(use)


def test_what_stands_as_it_was_applied_is_not_written_again_and_what_somebody_changed_is(with_client, namespace):
    async def use(client):
        owner = await client.create(WIDGETS, widget(namespace))

        async def writes_of(**data):
            plan = Plan(applies=((CONFIGMAPS, configmap(namespace, "x", owner, **data)),))
            counting = FaultyClient.around(client)
            await apply(plan, counting, WIDGETS, owner)
            return counting.writes, (await client.get(CONFIGMAPS, namespace, "x"))["data"]

        assert await writes_of(a="1", b="2") == (1, {"a": "1", "b": "2"})
        assert await writes_of(a="1", b="2") == (0, {"a": "1", "b": "2"})
        await client.merge_patch(CONFIGMAPS, namespace, "x", {"data": {"c": "a stranger's"}})
        assert await writes_of(a="1", b="2") == (0, {"a": "1", "b": "2", "c": "a stranger's"})
        await client.merge_patch(CONFIGMAPS, namespace, "x", {"data": {"a": "a stranger's"}})
        assert await writes_of(a="1", b="2") == (1, {"a": "1", "b": "2", "c": "a stranger's"})
        assert await writes_of(a="1") == (1, {"a": "1", "c": "a stranger's"})

    with_client(use)


@pytest.mark.parametrize("k", range(7))
def test_killed_after_write_k_the_next_pass_completes_the_plan(with_client, namespace, k):
    async def use(client):
        owner, plan = await everything(client, namespace)
        with pytest.raises(Killed):
            await apply(plan, FaultyClient.around(client, die_after=k), WIDGETS, owner)
        if k > 0:
            assert (await seen(client, namespace))[1] == {"phase": "Running"}, "the intent is written before any act"
        live = await client.get(WIDGETS, namespace, "w")
        await apply(plan, client, WIDGETS, live)
        assert await seen(client, namespace) == RESULT

    with_client(use)


def test_a_plan_made_from_an_older_object_does_nothing(with_client, namespace):
    async def use(client):
        owner, plan = await everything(client, namespace)
        await client.merge_patch(WIDGETS, namespace, "w", {"spec": {"size": 2}})
        with pytest.raises(Conflict):
            await apply(plan, client, WIDGETS, owner)
        objects, status, events = await seen(client, namespace)
        assert (sorted(objects), status, events) == (["old", "patched"], None, [])

    with_client(use)


def test_the_news_of_a_status_are_told_though_an_act_came_too_late(with_client, namespace):
    async def use(client):
        owner, plan = await everything(client, namespace)
        changed_since = {"metadata": {"resourceVersion": "1"}, "data": {"a": "2"}}
        plan = replace(plan, patches=(Patch(CONFIGMAPS, namespace, "patched", changed_since),))
        with pytest.raises(Conflict):
            await apply(plan, client, WIDGETS, owner)
        _, status, events = await seen(client, namespace)
        assert (status, events) == ({"phase": "Running"}, ["Done"])

    with_client(use)


@pytest.mark.parametrize("act", ["creates", "applies"])
def test_an_object_of_somebody_else_is_not_touched(with_client, namespace, act):
    async def use(client):
        owner = await client.create(WIDGETS, widget(namespace))
        stranger = await client.create(CONFIGMAPS, configmap(namespace, "x", a="theirs"))
        plan = Plan(**{act: ((CONFIGMAPS, configmap(namespace, "x", owner, a="ours")),)})
        with pytest.raises(NotOurs, match=f"ConfigMap {namespace}/x exists already, and has no controller"):
            await apply(plan, client, WIDGETS, owner)
        assert await client.get(CONFIGMAPS, namespace, "x") == stranger

    with_client(use)


def test_an_object_that_somebody_makes_at_the_same_moment_is_not_overwritten(with_client, namespace):
    async def use(client):
        owner = await client.create(WIDGETS, widget(namespace))
        read = client.get
        stranger = []

        async def get_then_stranger(*arguments):
            found = await read(*arguments)
            stranger.append(await client.create(CONFIGMAPS, configmap(namespace, "x", a="theirs")))
            return found

        racing = FaultyClient.around(client)
        racing.get = get_then_stranger
        plan = Plan(applies=((CONFIGMAPS, configmap(namespace, "x", owner, a="ours")),))
        with pytest.raises(Conflict):
            await apply(plan, racing, WIDGETS, owner)
        assert await read(CONFIGMAPS, namespace, "x") == stranger[0]

    with_client(use)


def test_owned_are_those_whose_controller_has_the_uid_whatever_their_labels_say(with_client, namespace):
    async def use(client):
        owner = await client.create(WIDGETS, widget(namespace))
        other = await client.create(WIDGETS, widget(namespace, "other"))
        await client.create(CONFIGMAPS, configmap(namespace, "ours", owner))
        await client.create(CONFIGMAPS, configmap(namespace, "copied-label"))
        await client.create(CONFIGMAPS, configmap(namespace, "of-another", other))
        found = await client.list(CONFIGMAPS, namespace, LABEL)
        owned = [obj["metadata"]["name"] for obj in found if is_owned(obj, owner["metadata"]["uid"])]
        assert owned == ["ours"]

    with_client(use)


# -- events ------------------------------------------------------------------------------------------------------------


def test_the_same_news_is_one_event_that_is_counted_up(with_client, namespace):
    async def use(client):
        about = await client.create(WIDGETS, widget(namespace))
        for _ in range(3):
            # A recorder each: as if the process had been started anew.
            await EventRecorder(client).record(WIDGETS, about, DONE)
        await EventRecorder(client).record(WIDGETS, about, DONE._replace(message="Something else."))
        return await client.list(EVENTS, namespace)

    found = sorted((event["message"], event["count"]) for event in with_client(use))
    assert found == [("Everything is there.", 3), ("Something else.", 1)]


def test_kubectl_shows_the_event(with_client, namespace, kubectl):
    async def use(client):
        about = await client.create(WIDGETS, widget(namespace))
        await EventRecorder(client).record(WIDGETS, about, DONE)

    with_client(use)
    assert "Everything is there." in kubectl("events", "--for", "widget/w", "--namespace", namespace)


def test_an_event_that_may_not_be_written_fails_nothing(with_client, plane, namespace, caplog):
    about = with_client(lambda client: client.create(WIDGETS, widget(namespace)))

    with_client(lambda client: EventRecorder(client).record(WIDGETS, about, DONE), plane.kubeconfig_for("nobody"))
    assert "event Done about w was not recorded" in caplog.text


def test_a_message_longer_than_an_event_takes_is_cut(with_client, namespace):
    async def use(client):
        about = await client.create(WIDGETS, widget(namespace))
        await EventRecorder(client).record(WIDGETS, about, DONE._replace(message="ü" * 2000))
        [event] = await client.list(EVENTS, namespace)
        assert event["message"] == "ü" * 512

    with_client(use)


def test_the_plan_of_the_widget_operator_repeats_the_spec(with_client, namespace):
    async def use(client):
        made = await client.create(WIDGETS, widget(namespace, size=1))
        await apply(widget_operator.plan(made), client, WIDGETS, made)
        assert (await client.get(CONFIGMAPS, namespace, "w"))["data"] == {"size": "1"}

    with_client(use)
