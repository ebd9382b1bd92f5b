"""`headrace approve` and `headrace refuse`: what they write, and what they say where there is nothing to decide."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from headrace.cli import approval as command
from headrace.kube.errors import Conflict
from one_object import OneObject

WAITS = {"required": True, "state": "Awaiting"}
OUTPUT = {"model": "text", "alias": "candidate", "approval": {"required": True}}


def job(
    approval: dict[str, Any] | None, state: str = "Succeeded", output: Any = OUTPUT, message: str = "", reason: str = ""
) -> Any:
    model = {"name": "team-a.text", "version": "7"} | ({} if approval is None else {"approval": approval})
    return {
        "metadata": {"name": "text", "namespace": "team-a", "uid": "u-1"},
        "spec": {"source": {"configMap": {"name": "code"}}, "entrypoint": "train.py", "output": output},
        "status": {"state": state, "reason": reason, "message": message, "model": model},
    }


@pytest.fixture
def run(run_in):
    return partial(run_in, command)


@pytest.mark.parametrize(
    ("arguments", "decision", "reason", "follows"),
    [
        (["approve", "text"], "Approved", None, "the operator points alias candidate at it"),
        (["approve", "text", "--reason", " a\n b"], "Approved", "a b", "the operator points alias candidate at it"),
        (["refuse", "text", "--reason", "blurred"], "Refused", "blurred", "alias candidate stays"),
    ],
)
def test_a_decision_is_written_on_that_very_job_under_ones_own_name(run, capsys, arguments, decision, reason, follows):
    cluster = OneObject(job(WAITS))

    assert run(cluster, *arguments) == 0

    annotations = {
        "headrace.dev/approval": decision,
        "headrace.dev/approval-by": "alice",
        "headrace.dev/approval-reason": reason,
    }
    patch = {"metadata": {"uid": "u-1", "annotations": annotations}}
    assert cluster.written == [("trainingjobs", "team-a", "text", patch)]
    said = capsys.readouterr().out
    assert f"{decision.lower()} by alice: version 7 of model team-a.text; {follows}" in said


@pytest.mark.parametrize(
    ("arguments", "follows"),
    [
        (["approve", "text"], "alias candidate stays: it is the promotion alias of ModelService team-a/shop"),
        (["refuse", "text", "--reason", "blurred"], "alias candidate stays ("),
    ],
)
def test_an_alias_that_a_service_owns_is_not_said_to_move(run, capsys, arguments, follows):
    assert run(OneObject(job(WAITS | {"aliasReservedBy": "team-a/shop"})), *arguments) == 0

    said = capsys.readouterr().out
    assert f"version 7 of model team-a.text; {follows}" in said
    assert "points alias" not in said


def test_without_an_alias_there_is_none_to_point(run, capsys):
    output = {"model": "text", "approval": {"required": True}}

    assert run(OneObject(job(WAITS, output=output)), "approve", "text") == 0

    assert "alias" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (None, "there is no TrainingJob 'text' in namespace 'team-a'"),
        (job(None, output={"model": "text", "approval": {}}), "asks for no approval"),
        (job(None, output=None), "asks for no approval"),
        (job(None, "Running"), "is Running: a version waits for an approval once it has succeeded"),
        (job(None, message="not registered: acc is 0.1"), "is Succeeded: not registered: acc is 0.1"),
        (job(None, "Failed", message="ValueError: x"), "is Failed: ValueError: x"),
        (job(WAITS, reason="ApprovalNotEnforced", message="set admission.enabled=true"), "set admission.enabled=true"),
        (job({"required": True, "state": "Refused", "by": "bob"}), "was refused by bob before, and the first decision"),
    ],
    ids=lambda value: None if isinstance(value, dict) else str(value)[:40],
)
def test_where_nothing_waits_nothing_is_written(run, capsys, found, said):
    cluster = OneObject(found)

    assert run(cluster, "approve", "text") == 1

    assert said in capsys.readouterr().err
    assert cluster.written == []


def test_another_job_of_the_same_name_is_not_approved(run, capsys):
    cluster = OneObject(job(WAITS), Conflict("409: the uid is another", status=409))

    assert run(cluster, "approve", "text") == 1

    assert "has just changed: look at it, and try again" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["refuse", "text", "--reason", " \n"], "--reason is empty: say why"),
        (["approve", "text", "--reason", "x" * 1025], "1025 characters, at most 1024"),
    ],
)
def test_a_reason_that_will_not_do_is_a_usage_error(run, capsys, arguments, said):
    cluster = OneObject(job(WAITS))

    assert run(cluster, *arguments) == 2

    assert said in capsys.readouterr().err
    assert cluster.written == []


def test_a_refusal_has_a_reason(run, capsys):
    with pytest.raises(SystemExit) as ended:
        run(OneObject(job(WAITS)), "refuse", "text")

    assert ended.value.code == 2
    assert "--reason" in capsys.readouterr().err
