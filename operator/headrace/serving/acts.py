"""What a person asks for by annotations on a ModelService (pure): promote, skip, abort, retry, pause, resume, restart.

The chart's policy lets only those write the annotations who have the verb, under their own name. An act is taken once:
the same write of the status has its record and what follows from it, and what was recorded last is not taken again. It
names what it is about, so that it never hits a version that came later. The annotations stay until the next act.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from headrace.api.acts import Act, ActOutcome, ActRecord, Restart, StandingAct
from headrace.api.modelservice import ModelService, ModelServiceStatus, Phase, Revision, RolloutStatus
from headrace.api.scalars import parse_time
from headrace.kube.plan import Event, EventType
from headrace.labels import ACT, ACT_AT, ACT_BY, ACT_REASON, ACT_VERSION
from headrace.rollout import by_hand, machine
from headrace.sentences import joined, listed
from headrace.serving.target import RETRY_ANNOTATION, Registry, artifact_of, named, names_of, revision_of, wanted

ACT_TAKEN = "ActTaken"
NOTHING_DONE = "NothingDone"
MAX_ACTS = 20
MAX_WORD = 128
MAX_NAME = 253
MAX_LINE = 1024


@dataclass(frozen=True)
class Wish:
    """What the annotations ask for."""

    act: str
    version: str  # or its digest, or the name of the revision
    by: str
    at: str
    reason: str


@dataclass(frozen=True)
class Answer:
    """What becomes of a wish. `status` None: nothing. `retries` is a revision that is tried although it was refused."""

    message: str
    status: ModelServiceStatus | None = None
    retries: str = ""


def wish_of(service: ModelService) -> Wish | None:
    """What is asked for; None where nothing is."""
    marks = service.metadata.annotations
    act, version, by, at, reason = (
        " ".join(marks.get(name, "").split()) for name in (ACT, ACT_VERSION, ACT_BY, ACT_AT, ACT_REASON)
    )
    if not act:
        return None
    return Wish(act[:MAX_WORD], version[:MAX_NAME], by[:MAX_NAME], at[:MAX_WORD], reason[:MAX_LINE])


def is_taken(status: ModelServiceStatus, wish: Wish) -> bool:
    """Whether it is the act that was taken last."""
    last = status.acts[-1] if status.acts else None
    return last is not None and wish == Wish(last.act, last.version, last.by, last.at, last.reason or "")


def take(
    service: ModelService, registry: Registry, now: datetime, *, verified: bool
) -> tuple[ModelService, tuple[Event, ...]]:
    """The service as this pass is to see it, with the act in its status, and what to tell of it; as it is where nothing
    new is asked for. `verified` says that a policy has looked at who asks.
    """
    wish = wish_of(service)
    if wish is None or is_taken(service.status, wish):
        return service, ()
    answer = _answer(service, registry, wish, now)
    if answer is None:
        return service, ()
    record = ActRecord(
        act=wish.act,
        version=wish.version,
        by=wish.by,
        at=wish.at,
        reason=wish.reason or None,
        taken_at=now,
        outcome=ActOutcome.NOTHING_DONE if answer.status is None else ActOutcome.DONE,
        message=answer.message[:MAX_LINE],
        unverified=not verified,
    )
    status = answer.status or service.status
    status = status.model_copy(update={"acts": (*status.acts, record)[-MAX_ACTS:]})
    metadata = service.metadata
    if answer.retries:  # for this pass only: the rollout that begins in it is in status then
        marks = {**metadata.annotations, RETRY_ANNOTATION: answer.retries}
        metadata = metadata.model_copy(update={"annotations": marks})
    done = answer.status is not None
    said = f"{wish.act} by {wish.by or 'an unknown user'}: {answer.message}"
    event = Event(EventType.NORMAL if done else EventType.WARNING, ACT_TAKEN if done else NOTHING_DONE, said)
    return service.model_copy(update={"status": status, "metadata": metadata}), (event,)


def _answer(service: ModelService, registry: Registry, wish: Wish, now: datetime) -> Answer | None:
    """None: it cannot be told yet."""
    if (fault := _fault(service, wish)) is not None:
        return Answer(fault)
    if wish.act == Act.RETRY:
        return _retry(service, registry, wish)
    if wish.act == Act.RESTART:
        return _restart(service, wish, now)
    return _steer(service, wish)


def _fault(service: ModelService, wish: Wish) -> str | None:
    """Why the annotations are no act."""
    if wish.act not in list(Act):
        return f"annotation {ACT} is {wish.act!r}: it must be one of {', '.join(Act)}"
    missing = [name for name, value in ((ACT_VERSION, wish.version), (ACT_BY, wish.by), (ACT_AT, wish.at)) if not value]
    if missing:
        return f"annotation {listed(missing)} is missing: kubectl headrace {wish.act} sets them all"
    try:
        at = parse_time(wish.at)
    except ValueError:
        return f"annotation {ACT_AT} is {wish.at!r}: it must be a time such as 2030-01-01T12:00:00Z"
    created = service.metadata.creation_timestamp
    if created is not None and at < created:
        return f"it was asked for at {wish.at}, before this ModelService was created: ask again"
    return None


# --- a rollout that is under way -------------------------------------------------------------------------------------


def _steer(service: ModelService, wish: Wish) -> Answer:
    status = service.status
    canary, rollout = status.canary, status.rollout
    if status.stable is None:
        return Answer("nothing serves yet: the first revision takes no steps, and there is no rollout to steer")
    if canary is None or rollout is None:
        return Answer(f"no rollout is under way: {named(status.stable)} serves")
    if wish.version not in names_of(canary):
        return Answer(
            f"the rollout under way is of {named(canary)}, and not of {wish.version}: look at it, and ask anew"
        )
    if status.phase is Phase.ROLLING_BACK:
        return Answer(f"{named(canary)} is being rolled back already ({status.reason})")
    if by_hand.is_aborted(rollout):
        return Answer(f"{named(canary)} is {by_hand.said(rollout)}")
    message, steered = _STEERING[Act(wish.act)](service, canary, rollout, wish)
    if steered is None:
        return Answer(message)
    return Answer(message, status.model_copy(update={"rollout": steered}))


_Steered = tuple[str, RolloutStatus | None]


def _promote(service: ModelService, canary: Revision, rollout: RolloutStatus, wish: Wish) -> _Steered:
    if by_hand.is_promoted(rollout):
        return f"{named(canary)} is {by_hand.said(rollout)} already", None
    message = f"{named(canary)} gets all requests as soon as its pods are ready, past all holds, pauses and checks"
    return message, _with_act(rollout, Act.PROMOTE, wish)


def _skip(service: ModelService, canary: Revision, rollout: RolloutStatus, wish: Wish) -> _Steered:
    weight = rollout.interruption.weight if rollout.interruption is not None else rollout.desired_weight
    if by_hand.is_promoted(rollout) or weight == machine.ALL:
        return f"{named(canary)} gets all requests: no step is left to skip", None
    if weight == 0:
        waits = "" if not by_hand.is_paused(rollout) else "; to end the pause: kubectl headrace resume"
        return f"{named(canary)} has no requests yet: its first step starts when its pods are ready{waits}", None
    message = (
        f"{machine.step_of(rollout)} ends now: the next step of {named(canary)} starts as soon as its pods are ready"
    )
    return message, _with_act(rollout, Act.SKIP, wish, weight)


def _abort(service: ModelService, canary: Revision, rollout: RolloutStatus, wish: Wish) -> _Steered:
    name, namespace = service.metadata.name, service.metadata.namespace
    message = (
        f"{named(canary)} is rolled back, and all requests go to the stable revision; it is not tried again until you "
        f"ask for it: kubectl headrace retry {name} -n {namespace}"
    )
    return message, _with_act(rollout, Act.ABORT, wish)


def _pause(service: ModelService, canary: Revision, rollout: RolloutStatus, wish: Wish) -> _Steered:
    if by_hand.is_paused(rollout):
        return f"the rollout of {named(canary)} is {by_hand.said(rollout)} already", None
    message = (
        f"the rollout of {named(canary)} stays at {rollout.desired_weight}% of the requests until it is resumed; "
        "a canary that fails is rolled back all the same"
    )
    return message, _with_act(rollout, Act.PAUSE, wish)


def _resume(service: ModelService, canary: Revision, rollout: RolloutStatus, wish: Wish) -> _Steered:
    if not by_hand.is_paused(rollout):
        hint = "to end a step that waits for a person: kubectl headrace skip"
        return joined(f"the rollout of {named(canary)} is not paused", hint), None
    # Its pods get their deadline anew: nobody waited for them meanwhile.
    return f"the rollout of {named(canary)} continues", rollout.model_copy(update={"act": None, "ready_by": None})


_STEERING: dict[Act, Callable[[ModelService, Revision, RolloutStatus, Wish], _Steered]] = {
    Act.PROMOTE: _promote,
    Act.SKIP: _skip,
    Act.ABORT: _abort,
    Act.PAUSE: _pause,
    Act.RESUME: _resume,
}


def _with_act(rollout: RolloutStatus, act: Act, wish: Wish, weight: int | None = None) -> RolloutStatus:
    standing = StandingAct(act=act, by=wish.by, reason=wish.reason or None, weight=weight)
    return rollout.model_copy(update={"act": standing, "ready_by": None})


# --- a rollout that is to begin --------------------------------------------------------------------------------------


def _retry(service: ModelService, registry: Registry, wish: Wish) -> Answer | None:
    status = service.status
    if status.phase is Phase.ROLLING_BACK or registry.source is None:
        return None  # once its pods are gone, and it is known what spec.model means
    candidate = revision_of(service, registry.source)
    if wish.version not in names_of(candidate):
        hint = "point spec.model, or the alias that it follows, at it first"
        return Answer(joined(f"spec.model means {named(candidate)}, and not {wish.version}", hint))
    if status.stable is not None and candidate.revision == status.stable.revision:
        return Answer(f"{named(candidate)} serves: there is nothing to try again")
    if status.canary is not None and status.rollout is not None:
        return Answer(f"a rollout is under way, of {named(status.canary)}: wait for its end, or abort it first")
    if (unasked := wanted(service, status, registry).revision) is not None and unasked.revision == candidate.revision:
        return Answer(f"nothing is held against {named(candidate)}: its rollout starts by itself")
    marks = {**service.metadata.annotations, RETRY_ANNOTATION: candidate.revision}
    metadata = service.metadata.model_copy(update={"annotations": marks})
    asked = wanted(service.model_copy(update={"metadata": metadata}), status, registry)
    if asked.revision is None or asked.revision.revision != candidate.revision:
        return Answer(asked.refusal.message if asked.refusal is not None else f"{named(candidate)} cannot be tried now")
    return Answer(f"{named(candidate)} is tried again", status, retries=candidate.revision)


def _restart(service: ModelService, wish: Wish, now: datetime) -> Answer:
    status = service.status
    if status.stable is None:
        return Answer("nothing serves yet: there are no pods to replace")
    if status.rollout is not None:
        return Answer("a rollout is under way, which brings fresh pods by itself: wait for its end, or abort it first")
    if wish.version not in names_of(status.stable):
        return Answer(f"{named(status.stable)} serves, and not {wish.version}: look at it, and ask anew")
    steps = "by the steps of spec.rollout" if service.spec.rollout.steps else "at once, since spec.rollout has no steps"
    message = f"fresh pods of {named(status.stable)} are rolled out, {steps}"
    serves = artifact_of(status.stable)
    # Of this artifact alone: another one that was turned back is no other revision by it, and stays refused.
    restart = Restart(at=now, artifact=serves.digest or serves.uri)
    return Answer(message, status.model_copy(update={"restart": restart}))
