"""`headrace promote` and its like: what they write, what they wait for, what they say where there is nothing to do."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest

from headrace.api.acts import Act
from headrace.cli import act as command
from headrace.kube.errors import Conflict, Forbidden
from one_object import OneObject

DIGEST = "sha256:" + "2" * 64
STABLE = {"revision": "text-1", "model": {"name": "team-a.text", "version": "1"}}
CANARY = {"revision": "text-2", "digest": DIGEST, "model": {"name": "team-a.text", "version": "2"}}
UNDER_WAY = {
    "phase": "Canarying",
    "stable": STABLE,
    "canary": CANARY,
    "rollout": {"id": "text-2-1", "step": 1, "steps": 2, "desiredWeight": 10},
}
PAUSED = UNDER_WAY | {"rollout": UNDER_WAY["rollout"] | {"act": {"act": "pause", "by": "bob"}}}
SERVES = {"phase": "Stable", "stable": STABLE}
REFUSED = SERVES | {"phase": "RolledBack", "rejected": [{"digest": DIGEST, "revision": "text-2", "reason": "Aborted"}]}


class Cluster(OneObject):
    """Has a service with this status. What is written is taken at once: with this outcome, or never (None)."""

    def __init__(self, status: Any, outcome: str | None = "Done", refusal: Exception | None = None) -> None:
        service = {
            "metadata": {"name": "text", "namespace": "team-a", "uid": "u-1", "annotations": {}},
            "spec": {"model": {"uri": "s3://b/m"}, "runtime": {"name": "onnxruntime"}},
            "status": status,
        }
        super().__init__(None if status is None else service, refusal)
        self.outcome = outcome

    async def merge_patch(self, resource, namespace, name, patch):
        await super().merge_patch(resource, namespace, name, patch)
        marks = patch["metadata"]["annotations"]
        self.found["metadata"]["annotations"] = {name: value for name, value in marks.items() if value}
        if self.outcome is not None:
            said = {name.removeprefix("headrace.dev/act").strip("-") or "act": value for name, value in marks.items()}
            record = said | {"outcome": self.outcome, "message": "as the operator says it"}
            self.found["status"] = self.found["status"] | {"acts": [record]}

    @property
    def marks(self):
        [(_, _, _, patch)] = self.written
        return {name.removeprefix("headrace.dev/"): value for name, value in patch["metadata"]["annotations"].items()}


@pytest.fixture
def run(run_in):
    return partial(run_in, command)


@pytest.mark.parametrize(
    ("act", "status", "about"),
    [
        ("promote", UNDER_WAY, "text-2"),
        ("skip", UNDER_WAY, "text-2"),
        ("abort", UNDER_WAY, "text-2"),
        ("pause", UNDER_WAY, "text-2"),
        ("resume", PAUSED, "text-2"),
        ("retry", REFUSED, DIGEST),
        ("restart", SERVES, "text-1"),
    ],
)
def test_an_act_is_written_on_that_very_service_with_what_it_is_about_who_and_when(run, capsys, act, status, about):
    cluster = Cluster(status)

    assert run(cluster, act, "text", "--reason", " it\n is time") == 0

    marks = cluster.marks
    assert (marks["act"], marks["act-version"], marks["act-by"], marks["act-reason"]) == (
        act,
        about,
        "alice",
        "it is time",
    )
    assert marks["act-at"].endswith("Z")
    assert cluster.written[0][:3] == ("modelservices", "team-a", "text")
    assert cluster.written[0][3]["metadata"]["uid"] == "u-1"
    assert capsys.readouterr().out == "as the operator says it\n"


def test_every_act_is_a_command():
    assert [one.act for one in command.ACTS] == list(Act)


def test_what_the_operator_has_not_done_is_an_error(run, capsys):
    assert run(Cluster(UNDER_WAY, "NothingDone"), "promote", "text") == 1

    assert capsys.readouterr().err == "error: nothing was done: as the operator says it\n"


@pytest.mark.parametrize(("outcome", "code"), [("Done", 0), ("NothingDone", 1)])
def test_json_has_the_record(run, capsys, outcome, code):
    assert run(Cluster(UNDER_WAY, outcome), "promote", "text", "-o", "json") == code

    found = json.loads(capsys.readouterr().out)
    assert (found["namespace"], found["name"], found["act"], found["by"]) == ("team-a", "text", "promote", "alice")
    assert (found["version"], found["outcome"], found["message"]) == ("text-2", outcome, "as the operator says it")


def test_an_operator_that_does_not_take_it_is_waited_for_no_longer_than_asked(run, capsys, monkeypatch):
    monkeypatch.setattr(command, "PAUSE", 0.01)

    assert run(Cluster(UNDER_WAY, None), "promote", "text", "--timeout", "0.05") == 1

    error = capsys.readouterr().err
    assert "the operator has not taken it within 0.05 s, and will as soon as it can" in error
    assert "kubectl -n team-a get modelservice text" in error


def test_nobody_needs_to_wait(run, capsys):
    assert run(Cluster(UNDER_WAY, None), "promote", "text", "--timeout", "0") == 0

    assert "asked for" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["promote", "text"], None, "there is no ModelService 'text' in namespace 'team-a'"),
        (["promote", "text"], SERVES, "no rollout of ModelService text is under way, version 1 of model team-a.text"),
        (["abort", "text"], SERVES, "to go back to an older version, name it in spec.model"),
        (["promote", "text"], {"message": "waiting for pods"}, "nothing serves yet at ModelService text: waiting for"),
        (
            ["abort", "text"],
            UNDER_WAY | {"phase": "RollingBack", "reason": "NoData"},
            "being rolled back already (NoData)",
        ),
        (["resume", "text"], UNDER_WAY, "is not paused: kubectl headrace skip text -n team-a ends the step"),
        (["promote", "text", "--version", "3"], UNDER_WAY, "version 2 of model team-a.text is rolled out, and not 3"),
        (["restart", "text"], UNDER_WAY, "is under way, which brings fresh pods: wait for its end"),
        (["restart", "text"], {}, "nothing serves yet at ModelService text: it is new"),
        (["restart", "text", "--version", "3"], SERVES, "version 1 of model team-a.text serves, and not 3"),
        (["retry", "text"], SERVES, "has nothing to retry: no version was rolled back"),
        (["retry", "text"], UNDER_WAY | {"rejected": REFUSED["rejected"]}, "is under way: wait for its end, or abort"),
    ],
    ids=lambda value: None if isinstance(value, dict) else str(value)[:60],
)
def test_where_there_is_nothing_to_do_nothing_is_written(run, capsys, arguments, status, said):
    cluster = Cluster(status)

    assert run(cluster, *arguments) == 1

    assert said in capsys.readouterr().err
    assert cluster.written == []


@pytest.mark.parametrize("version", ["2", DIGEST, "text-2"])
def test_a_version_that_is_named_has_to_be_the_one(run, version):
    assert run(Cluster(UNDER_WAY), "promote", "text", "--version", version) == 0


def test_what_only_the_registry_calls_turned_back_is_retried_by_its_name(run):
    cluster = Cluster(SERVES)

    assert run(cluster, "retry", "text", "--version", "2") == 0

    assert cluster.marks["act-version"] == "2"


def test_another_service_of_the_same_name_is_not_touched(run, capsys):
    cluster = Cluster(UNDER_WAY, refusal=Conflict("409: the uid is another", status=409))

    assert run(cluster, "promote", "text") == 1

    assert "has just been made anew: look at it, and try again" in capsys.readouterr().err


def test_who_may_not_is_told_whom_to_ask_for_what(run, capsys):
    refusal = Forbidden(
        'modelservices "text" is forbidden: User "eve" cannot patch resource "modelservices"', status=403
    )

    assert run(Cluster(UNDER_WAY, refusal=refusal), "promote", "text") == 1

    error = capsys.readouterr().err
    assert "you need the verbs patch and promote on modelservices.headrace.dev; ask an administrator" in error
    assert "ClusterRole headrace-releaser" in error


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--reason", "x" * 1025], "1025 characters, at most 1024"),
        (["--timeout", "-1"], "must be a number of seconds"),
        (["--timeout", "nan"], "must be a number of seconds"),
    ],
)
def test_what_is_asked_for_wrongly_is_a_usage_error(run, capsys, arguments, said):
    cluster = Cluster(UNDER_WAY)

    assert run(cluster, "promote", "text", *arguments) == 2

    assert said in capsys.readouterr().err
    assert cluster.written == []


def test_what_somebody_else_asks_for_meanwhile_is_not_waited_for(run, capsys):
    class Overtaken(Cluster):
        async def merge_patch(self, *asked):
            await super().merge_patch(*asked)
            self.found["metadata"]["annotations"] |= {"headrace.dev/act-by": "bob", "headrace.dev/act-at": "later"}

    assert run(Overtaken(UNDER_WAY, None), "promote", "text") == 1

    assert "bob has asked for something else before the operator took it" in capsys.readouterr().err
