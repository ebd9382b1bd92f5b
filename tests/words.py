"""What a person reads of a resource: that each text is there, and is no riddle."""

from collections.abc import Iterator
from typing import Any

from headrace.kube.plan import Event, Plan

# A stranger to Headrace knows pods, runs, versions and weights. From these words nobody can tell what happens.
RIDDLES = (
    "somebody",
    "nobody",
    "waited for",
    "is to end",
    "mend",
    "turned back",
    "on its way",
    "looked at",
    "taken from",
    "gave way",
    "not made",
    "were made",
    "being made",
    "begins",
    "goes on",
    "go on",
    "as it takes",
)


def texts_of(status: dict[str, Any], events: tuple[Event, ...] = ()) -> Iterator[tuple[str, str]]:
    """Each text for people, and where it stands."""
    yield "message", status.get("message", "")
    for condition in status["conditions"]:
        yield f"condition {condition['type']}", condition.get("message", "")
    if failure := status.get("failure"):
        yield "failure.message", failure.get("message", "")
        yield "failure.hint", failure.get("hint", "")
    for event in events:
        yield f"event {event.reason}", event.message


def unclear(plan: Plan) -> list[str]:
    """The texts of a plan that are empty, or hold a riddle."""
    assert plan.status is not None
    return [
        f"{where}: {text!r}"
        for where, text in texts_of(plan.status, plan.events)
        if not text.strip(" ;:") or any(riddle in text for riddle in RIDDLES)
    ]


def reasons_of(plan: Plan) -> set[str]:
    """The reasons in a plan's status, and in its conditions, failure and history."""
    status = plan.status or {}
    found = {condition["reason"] for condition in status["conditions"]}
    found |= {entry.get("reason", "") for entry in status.get("history", ())}
    return found | {status.get("reason", ""), status.get("failure", {}).get("reason", "")} - {""}
