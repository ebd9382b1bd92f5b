"""What status says of how a revision's pods get their model."""

import json

import pytest

from headrace.api.modelservice_status import LoadState
from headrace.serving.loading import load_of, said
from headrace.serving.observed import read_pod
from headrace.serving.revision import render_template
from headrace_common.protocol import PROGRESS_PORT
from headrace_common.protocol.loading import Loading
from serving_builders import artifact, model_service, serving_pod
from training_builders import SETTINGS

HALF = Loading(bytes=500_000, total_bytes=1_000_000, fetched_bytes=400_000, seconds=3.4)
DONE = Loading(bytes=1_000_000, total_bytes=1_000_000, fetched_bytes=900_000, seconds=7.0)


def at_work(name="a", loading=None):
    return serving_pod(name, "r", ready=False, loader_port=PROGRESS_PORT, loading=loading)


def done(name="a", loading=DONE):
    return serving_pod(name, "r", loading=loading)


def shown(load):
    return load and (str(load.state), load.pod, load.bytes, load.total_bytes, load.fetched_bytes, load.seconds)


def test_a_loader_at_work_is_shown_as_it_answered():
    assert shown(load_of(None, [at_work(loading=HALF)])) == ("Loading", "a", 500_000, 1_000_000, 400_000, 3)


def test_of_several_the_one_that_is_furthest_behind_is_shown():
    behind = Loading(0, None, 0, 1.0)
    assert shown(load_of(None, [at_work("a", HALF), at_work("b", behind), done("c")])) == (
        "Loading",
        "b",
        0,
        None,
        0,
        1,
    )


def test_what_was_shown_stays_while_no_loader_is_asked():
    before = load_of(None, [at_work(loading=HALF)])
    assert load_of(before, [at_work()]) == before
    assert load_of(None, [at_work()]) is None


def test_when_all_have_it_the_one_that_took_longest_is_shown_whatever_order_they_come_in():
    slow = Loading(1_000_000, 1_000_000, 1_000_000, 60.0)
    pods = [done("a"), done("b", slow), done("c")]
    assert shown(load_of(None, pods)) == shown(load_of(None, pods[::-1]))
    assert shown(load_of(None, pods)) == ("Loaded", "b", 1_000_000, 1_000_000, 1_000_000, 60)


@pytest.mark.parametrize(
    ("loading", "source"),
    [(DONE, "Storage"), (Loading(5, 5, 0, 0.1), "Volume")],
    ids=["fetched", "left by an earlier start"],
)
def test_where_a_model_came_from(loading, source):
    load = load_of(None, [done(loading=loading)])
    assert load is not None
    assert load.source == source


def test_pods_that_tell_nothing_have_no_load():
    assert load_of(load_of(None, [at_work(loading=HALF)]), [serving_pod("a", "r")]) is None
    assert load_of(None, []) is None


@pytest.mark.parametrize(
    ("loading", "sentence"),
    [
        (HALF, "pod a has 500.0 kB of 1.0 MB of the model after 3 s"),
        (Loading(0, None, 0, 2.0), "pod a has 0 bytes of the model after 2 s"),
        (
            Loading(1_200_000_000, 14_000_000_000, 0, 90.0, "storage answered 503 SlowDown"),
            "pod a has 1.2 GB of 14.0 GB of the model after 90 s, and storage gives no more at present: "
            "storage answered 503 SlowDown",
        ),
    ],
)
def test_a_message_says_how_far_it_is_and_what_keeps_it(loading, sentence):
    assert said(load_of(None, [at_work(loading=loading)])) == sentence


def test_of_a_model_that_is_loaded_no_message_has_to_speak():
    load = load_of(None, [done()])
    assert load is not None
    assert load.state is LoadState.LOADED
    assert said(load) == said(None) == ""


def observed(state, spec=None):
    spec = render_template(model_service(), "r", artifact(1), SETTINGS)["spec"] if spec is None else spec
    status = {"initContainerStatuses": [{"name": "loader", "state": state}]}
    return read_pod({"metadata": {"name": "p"}, "spec": spec, "status": status})


def test_a_loader_at_work_is_asked_where_its_template_says():
    assert observed({"running": {}}).loader_port == PROGRESS_PORT


@pytest.mark.parametrize("state", [{"waiting": {"reason": "PodInitializing"}}, {"terminated": {"exitCode": 4}}, {}])
def test_a_loader_that_is_not_at_work_is_not_asked(state):
    assert observed(state).loader_port is None


def test_a_loader_of_an_earlier_release_is_not_asked():
    assert observed({"running": {}}, {"initContainers": [{"name": "loader"}]}).loader_port is None


def test_a_loader_that_has_ended_has_left_what_it_did():
    record = {"protocol": 1, "outcome": "Succeeded", "digest": "d", "bytes": 5, "fetchedBytes": 3, "seconds": 0.5}
    assert observed({"terminated": {"exitCode": 0, "message": json.dumps(record)}}).loading == Loading(5, 5, 3, 0.5)


@pytest.mark.parametrize("message", ["", "INFO loading", '{"outcome": "Succeeded"}', None])
def test_a_record_that_is_none_is_nothing(message):
    assert observed({"terminated": {"exitCode": 0, "message": message}}).loading is None
