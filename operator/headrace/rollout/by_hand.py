"""What a person has to say in a rollout (pure): where the spec waits for one, and what one has said.

`machine` asks this at the places where it would go on by itself. How an act gets into status is in `serving.acts`.
"""

from __future__ import annotations

from headrace.api.acts import Act, StandingAct
from headrace.api.modelservice import Rollout, RolloutStatus

WAITING_FOR_PERSON = "WaitingForPerson"
PAUSED = "Paused"
ABORTED = "Aborted"
PROMOTED_BY_HAND = "PromotedByHand"
_DONE = {
    Act.PROMOTE: "promoted",
    Act.SKIP: "skipped",
    Act.ABORT: "aborted",
    Act.PAUSE: "paused",
}


def waits_for_person(rollout: RolloutStatus, spec: Rollout) -> bool:
    """Whether the step at this weight ends only when somebody says so."""
    return any(step.pause is not None for step in spec.steps if step.weight == rollout.desired_weight)


def is_aborted(rollout: RolloutStatus) -> bool:
    """Whether a person rolled it back."""
    return _is(rollout, Act.ABORT)


def is_promoted(rollout: RolloutStatus) -> bool:
    """Whether a person wants it to have all requests, past all holds and checks."""
    return _is(rollout, Act.PROMOTE)


def is_paused(rollout: RolloutStatus) -> bool:
    """Whether a person holds it at its weight."""
    return _is(rollout, Act.PAUSE)


def ends_step(rollout: RolloutStatus) -> bool:
    """Whether nothing of the step's own is waited for any more: a person has paused the rollout, or skips the step."""
    skips = rollout.act is not None and rollout.act.act is Act.SKIP and rollout.act.weight == rollout.desired_weight
    return skips or is_paused(rollout)


def said(rollout: RolloutStatus) -> str:
    """Who has said what, and why."""
    act = rollout.act
    return sentence(act) if act is not None else ""


def sentence(act: StandingAct) -> str:
    """The same of an act."""
    why = f" ({act.reason})" if act.reason else ""
    return f"{_DONE[act.act]} by {act.by}{why}"


def how_to_go_on(reason: str, namespace: str, name: str) -> str:
    """The command that a rollout with this reason waits for; empty where it waits for nobody."""
    verb = {WAITING_FOR_PERSON: "skip", PAUSED: "resume"}.get(reason)
    if verb is None:
        return ""
    where = f"{name} -n {namespace}"
    return f"kubectl headrace {verb} {where} continues, kubectl headrace abort {where} rolls back"


def _is(rollout: RolloutStatus, act: Act) -> bool:
    return rollout.act is not None and rollout.act.act is act
