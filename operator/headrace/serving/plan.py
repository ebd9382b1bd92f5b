"""Plans one pass over a ModelService (pure): which revisions there are, and what share of the requests each gets.

The stable revision has the requests; a canary is a revision on its way to become it. The decisions of a rollout are
made in `rollout.machine`; this module turns them into status and objects. A removed revision loses its weight first,
and its pods a grace later.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from headrace.api.common import Failure, FailureClass
from headrace.api.modelservice import (
    ModelService,
    ModelServiceStatus,
    PendingOutcome,
    Phase,
    PromotionStatus,
    RejectedDigest,
    Revision,
    RolloutOutcome,
    RolloutRecord,
    RolloutStatus,
)
from headrace.kube.plan import Delete, Event, EventType, Patch, Plan
from headrace.kube.resources import (
    CONTROLLERREVISIONS,
    DEPLOYMENTS,
    HTTPROUTES,
    MODELSERVICES,
    NETWORKPOLICIES,
    PDBS,
    SERVICES,
    Object,
    Resource,
)
from headrace.rollout import by_hand, machine
from headrace.rollout.machine import CANARY_UNAVAILABLE, Decision, Look, Outcome, Problem
from headrace.rollout.propagation import apply_grace
from headrace.rollout.route import divide_anew, render_route
from headrace.sentences import joined
from headrace.serving import acts
from headrace.serving import revision as render
from headrace.serving.loading import load_of, said
from headrace.serving.network import policy_name, render_network_policy
from headrace.serving.observed import Observed, Trouble
from headrace.serving.runtimes.choice import why_not
from headrace.serving.status import NOT_ANSWERED, finish_status, pods_serving, route_fact, route_refused
from headrace.serving.target import (
    RETRY_ANNOTATION,
    Refusal,
    Registry,
    artifact_of,
    called,
    difference_of,
    is_asked_for,
    is_rejected,
    named,
    wanted,
)
from headrace.serving.target import identity as _identity
from headrace.settings import Settings

POLL_ROLLOUT = 1.0
POLL_WAITING = 2.0
POLL_STEADY = 15.0
MAX_HISTORY = 20
MAX_NAMED = 5  # pods in a message
MAX_LINE = 1024  # the bound of this text in the schema
SERVING = "Serving"
PODS_MISSING = "PodsMissing"
ROUTE_REASONS = ("RoutePending", "RouteRefused", "RouteConflict", "GatewayAPIMissing")  # why no request gets to pods
# What to do about a rollback that no pod explains.
ROLLBACK_HINTS = {
    "AnalysisFailed": "train another version, or correct the check in spec.rollout.analysis if its bound is wrong",
    "NoData": "send requests during the rollout, use longer or larger steps, or lower minRequests",
    "EndpointsLost": "read the logs and Events of the canary's pods",
    "ProgressDeadlineExceeded": "read the logs and Events of the canary's pods, or raise spec.rollout.progressDeadline",
}


def plan(service: ModelService, observed: Observed, now: datetime, settings: Settings) -> Plan:
    """The next pass."""
    if service.metadata.deletion_timestamp is not None:
        return Plan()
    observed = _with_runtime(service, observed, settings)
    before, verified = service, settings.approvals_enforced
    service, told = acts.take(service, _registry(observed), now, verified=verified)
    draft = _with_route(service, _decide(service, observed, now), observed, settings)
    service = service.model_copy(update={"status": draft.status})
    objects = _objects(service, draft.status, observed, settings)
    status = finish_status(service, draft.status, observed, now, settings)
    answered = _answered_retry(before, draft.status)
    events = (*told, *draft.events)
    return replace(objects, status=status, patches=answered, events=events, requeue_after=draft.requeue)


def _registry(observed: Observed) -> Registry:
    return Registry(observed.artifact, observed.promoted, observed.rolled_back)


def _with_runtime(service: ModelService, observed: Observed, settings: Settings) -> Observed:
    """Without a server that can be rendered there is nothing to serve the model with: what serves goes on."""
    problem = why_not(service.spec.runtime, settings.runtimes, settings.refused_runtimes)
    return observed if problem is None else replace(observed, artifact=None, promoted=None, artifact_problem=problem)


@dataclass(frozen=True)
class _Draft:
    status: ModelServiceStatus
    requeue: float
    events: tuple[Event, ...] = ()


# --- decisions -------------------------------------------------------------------------------------------------------


def _decide(service: ModelService, observed: Observed, now: datetime) -> _Draft:
    status = _refreshed(service, observed, now)
    if status.phase is Phase.ROLLING_BACK and status.rollout is not None:
        return _rolling_back(service, status, observed, now)
    aim = wanted(service, status, _registry(observed))
    target = aim.revision
    if target is None and status.stable is not None and status.canary is not None:
        return _roll_on(service, status, observed, now)  # a canary is watched also while the registry is away
    if target is None:
        return _without_target(status, observed, aim.refusal)
    if status.stable is None:
        return _first(service, status, target, observed, now)
    if status.canary is not None and status.canary.revision != target.revision:
        return _roll_on(service, status, observed, now) if _waits_its_turn(status) else _supersede(status, now)
    if target.revision == status.stable.revision:
        settled = _steady(service, status, target, observed, now)
        if aim.twin is not None:
            return _with_twin(settled, aim.twin, now)
        if aim.unlike is not None and aim.refusal is not None:
            return _unlike(settled, aim.unlike, aim.refusal, observed, now)
        return settled if aim.refusal is None else _stays(settled, aim.refusal, status)
    if status.canary is None:
        return _consider(service, status, target, now)
    return _roll_on(service, status, observed, now)


def _waits_its_turn(status: ModelServiceStatus) -> bool:
    """The canary is good as far as anybody knows, and it alone answers: something newer waits. (A canary that is to be
    rolled back and cannot be does not hold up what may repair it.)
    """
    stable, canary, rollout = status.stable, status.canary, status.rollout
    if stable is None or canary is None or rollout is None or status.reason == machine.STABLE_UNAVAILABLE:
        return False
    return machine.alone_answers(rollout, stable.ready_replicas, canary.ready_replicas)


def _without_target(status: ModelServiceStatus, observed: Observed, refusal: Refusal | None) -> _Draft:
    """The model cannot be resolved now, or is not to be served: what serves goes on serving."""
    reason, message = observed.artifact_problem or ("ModelNotResolved", "spec.model has not been resolved yet")
    if refusal is not None:
        reason, message = refusal.reason, refusal.message
    phase = Phase.PENDING if status.stable is None else status.phase or Phase.STABLE
    waiting = status.model_copy(update={"phase": phase, "reason": reason, "message": message})
    told = status.reason == reason and status.message == message
    events = () if told else (Event(EventType.WARNING, reason, message),)
    return _Draft(waiting, POLL_WAITING if status.stable is None else POLL_STEADY, events)


def _first(
    service: ModelService, status: ModelServiceStatus, target: Revision, observed: Observed, now: datetime
) -> _Draft:
    """The first revision takes no steps: with its first ready pod it is stable, and what is missing is said."""
    replicas = service.spec.scaling.replicas
    pods = observed.pods_of(target.revision)
    ready = sum(pod.takes_requests(now) for pod in pods)
    known = status.canary if status.canary and status.canary.revision == target.revision else target
    load = load_of(known.load, pods)
    # The known one: its pods were told its version, also where an alias has moved to another one with the same files.
    coming = known.model_copy(update={"replicas": replicas, "ready_replicas": ready, "load": load})
    if ready > 0:
        outcomes = status.pending_outcomes
        if artifact_of(target) in observed.rolled_back:  # somebody asked for it all the same
            outcomes = _tell(status, coming, RolloutOutcome.PROMOTED, SERVING)
        first = status.model_copy(update={"stable": coming, "canary": None, "pending_outcomes": outcomes})
        settled = _steady(service, first, coming, observed, now)
        return replace(settled, requeue=POLL_WAITING, events=(Event(EventType.NORMAL, SERVING, _serving(coming)),))
    trouble = _worst(observed, target.revision)
    waiting = status.model_copy(
        update={
            "phase": Phase.FAILED if trouble and trouble.final else Phase.PENDING,
            "reason": trouble.reason if trouble else "WaitingForPods",
            "message": _sentence(trouble)
            if trouble
            else joined(
                f"waiting for the first of {replicas} pods to become ready, to serve {named(coming)}", said(load)
            ),
            "canary": coming,
            "failure": _failure(trouble) if trouble else None,
        }
    )
    told = status.reason == waiting.reason
    events = (Event(EventType.WARNING, trouble.reason, _sentence(trouble)),) if trouble and not told else ()
    return _Draft(waiting, POLL_WAITING, events)


def _steady(
    service: ModelService, status: ModelServiceStatus, target: Revision, observed: Observed, now: datetime
) -> _Draft:
    assert status.stable is not None
    stable = status.stable.model_copy(
        update={"replicas": service.spec.scaling.replicas, "model": target.model, "uri": target.uri}
    )
    trouble = _worst(observed, stable.revision)
    short = stable.ready_replicas < stable.replicas
    reason, message = SERVING, _serving(stable)
    if short:
        reason = trouble.reason if trouble else PODS_MISSING
        message = _shortfall(stable, observed, now, trouble)
    elif trouble is not None and trouble is observed.refusal:
        reason, message = trouble.reason, _sentence(trouble)
    settled = status.model_copy(
        update={
            "phase": Phase.STABLE,
            "reason": reason,
            "message": message,
            "stable": stable,
            "failure": _failure(trouble) if trouble and reason == trouble.reason else None,
            "promotion": _promise_anew(service, status, stable),
        }
    )
    return _Draft(settled, POLL_WAITING if short else POLL_STEADY)


def _with_twin(settled: _Draft, twin: Revision, now: datetime) -> _Draft:
    """Another version has the files that serve. It is told once, and nothing is rolled out: pods, status and promotion
    alias keep the number of the version that was tried with these files.
    """
    status, stable = settled.status, settled.status.stable
    assert stable is not None
    message = (
        f"{named(twin)} has the same files as version {called(stable)}, which serves: there is nothing to roll out"
    )
    status = status.model_copy(update={"message": f"{status.message}; {message}"})
    ends = (RolloutOutcome.PROMOTED, RolloutOutcome.SAME_FILES)
    if any(
        (one.revision, one.version) == (twin.revision, called(twin)) and one.outcome in ends for one in status.history
    ):
        return replace(settled, status=status)
    reason = f"SameAsVersion{called(stable)}"
    told = status.model_copy(
        update={
            "pending_outcomes": _tell(status, twin, RolloutOutcome.SAME_FILES, reason),
            "history": _record(status, twin, _none_begun(twin, now), RolloutOutcome.SAME_FILES, reason, now),
        }
    )
    return replace(settled, status=told, events=(Event(EventType.NORMAL, "SameFiles", message),))


def _unlike(settled: _Draft, candidate: Revision, refusal: Refusal, observed: Observed, now: datetime) -> _Draft:
    """A candidate that clients of what serves would not get on with is refused before anything of it is made. It is
    told once; nothing is held against its files, and it is rolled out as soon as somebody says so.
    """
    status, stable = settled.status, settled.status.stable
    assert stable is not None
    short = stable.ready_replicas < stable.replicas
    message = f"{refusal.message}; {status.message}" if short else refusal.message
    status = status.model_copy(update={"reason": refusal.reason, "message": message})
    outcome, differs = RolloutOutcome.REFUSED, difference_of(stable, candidate)[:MAX_LINE]
    tried = [one for one in status.history if (one.revision, one.version) == (candidate.revision, called(candidate))]
    if tried and (tried[-1].outcome, tried[-1].difference) == (outcome, differs):
        return replace(settled, status=status)
    pending = status.pending_outcomes
    # That it was rolled back outweighs it, also where somebody has asked for another try.
    if artifact_of(candidate) not in observed.rolled_back and not is_rejected(status, candidate):
        pending = _tell(status, candidate, outcome, refusal.reason, f"from {named(stable)}: {differs}"[:MAX_LINE])
    history = _record(status, candidate, _none_begun(candidate, now), outcome, refusal.reason, now, differs)
    told = status.model_copy(update={"pending_outcomes": pending, "history": history})
    return replace(settled, status=told, events=(Event(EventType.WARNING, refusal.reason, refusal.message),))


def _none_begun(candidate: Revision, now: datetime) -> RolloutStatus:
    """What history has of a rollout where there was none."""
    return RolloutStatus(id=f"{candidate.revision}-{int(now.timestamp())}", step=0, steps=0, started_at=now)


def _stays(settled: _Draft, refusal: Refusal, before: ModelServiceStatus) -> _Draft:
    """What is stable serves; phase and reason are about what was rolled back, the message about both."""
    status, stable = settled.status, settled.status.stable
    short = stable is not None and stable.ready_replicas < stable.replicas
    stays = status.model_copy(
        update={
            "phase": Phase.ROLLED_BACK,
            "reason": refusal.reason,
            "message": f"{refusal.message}; {status.message}" if short else refusal.message,
            "failure": before.failure,
        }
    )
    told = before.reason == refusal.reason
    events = () if told else (Event(EventType.WARNING, refusal.reason, refusal.message),)
    return _Draft(stays, settled.requeue, events)


def _with_route(service: ModelService, draft: _Draft, observed: Observed, settings: Settings) -> _Draft:
    """Pods that no request gets to serve nobody. In the first moments of a route that is no fault of anybody's."""
    status, before = draft.status, service.status.reason
    if status.reason != SERVING or status.stable is None:
        return draft
    routed, reason, message = route_fact(service, status, observed, settings)
    if routed is True:
        returned = (Event(EventType.NORMAL, SERVING, status.message or ""),) if before in ROUTE_REASONS else ()
        return replace(draft, events=draft.events or returned)
    message = f"{pods_serving(status.stable)}, and no request gets to them: {message}"
    kind = EventType.NORMAL if reason == "RoutePending" else EventType.WARNING
    others = tuple(event for event in draft.events if event.reason != SERVING)
    events = others if reason == before else (*others, Event(kind, reason, message))
    return replace(draft, status=status.model_copy(update={"reason": reason, "message": message}), events=events)


def _shortfall(stable: Revision, observed: Observed, now: datetime, trouble: Trouble | None) -> str:
    """How many pods of the revision are missing, which, and why."""
    names = [pod.name for pod in observed.pods_of(stable.revision) if not pod.takes_requests(now)]
    unmade = stable.replicas - len(observed.pods_of(stable.revision))
    missing = [", ".join(names[:MAX_NAMED])] if names else []
    missing += [f"{len(names) - MAX_NAMED} more"] if len(names) > MAX_NAMED else []
    missing += [f"{unmade} that {'are' if unmade > 1 else 'is'} not created yet"] if unmade > 0 else []
    count = pods_serving(stable)
    waits = f"; waiting for pods to become ready: {', '.join(missing)}" if missing else ""
    return f"{count}{waits}" + (f": {_sentence(trouble)}" if trouble else "")


def _consider(service: ModelService, status: ModelServiceStatus, target: Revision, now: datetime) -> _Draft:
    """Something new to serve: a rollout."""
    rollout_id = f"{target.revision}-{int(now.timestamp())}"
    rollout = machine.begin(rollout_id, service.spec.rollout, now)
    kept = tuple(entry for entry in status.rejected if entry.digest != _identity(target))
    begun = status.model_copy(
        update={
            "phase": Phase.CANARYING,
            "reason": "Preparing",
            "message": f"rollout of {named(target)}: creating its pods",
            "canary": target,
            "rollout": rollout,
            "rejected": kept,
        }
    )
    event = Event(EventType.NORMAL, "RolloutStarted", f"rollout of {named(target)} started")
    return _Draft(begun, POLL_ROLLOUT, (event,))


def _roll_on(service: ModelService, status: ModelServiceStatus, observed: Observed, now: datetime) -> _Draft:
    assert status.stable is not None
    assert status.canary is not None
    spec, full = service.spec.rollout, service.spec.scaling.replicas
    rollout = status.rollout or machine.begin(f"{status.canary.revision}-{int(now.timestamp())}", spec, now)
    trouble = _worst(observed, status.canary.revision)
    look = Look(
        now=now,
        stable_ready=status.stable.ready_replicas,
        canary_ready=status.canary.ready_replicas,
        canary=observed.counters_of(status.canary.revision),
        stable=observed.counters_of(status.stable.revision),
        gateway=observed.gateway,
        watched_since=observed.watched_since,
        routed=_is_routed(service, status, observed),
        unprogrammed=_unprogrammed(service, observed),
        apply_grace=apply_grace(observed.gateway_throttle),
        problem=_problem(trouble),
        disrupted=observed.is_disrupted(status.canary.revision),
        replaced=observed.is_replaced(status.canary.revision, rollout.since or now),
    )
    outcome = machine.advance(rollout, spec, full, look)
    if outcome.decision is Decision.PROMOTE:
        return _promote(service, status, outcome.rollout, now)
    if outcome.decision is Decision.ROLL_BACK and outcome.reason == by_hand.ABORTED:
        return _abort(status, outcome.rollout, outcome.message, now)
    if outcome.decision is Decision.ROLL_BACK:
        return _roll_back(status, outcome.rollout, outcome.reason, outcome.message, trouble, now)
    canary = status.canary.model_copy(update={"replicas": machine.canary_replicas(outcome.rollout, spec, full)})
    why = _sentence(trouble) if trouble else said(canary.load) if canary.ready_replicas == 0 else ""
    meta = service.metadata
    message = joined(outcome.message, by_hand.how_to_go_on(outcome.reason, meta.namespace, meta.name))
    going_on = status.model_copy(
        update={
            "phase": Phase.CANARYING if outcome.rollout.desired_weight < machine.ALL else Phase.PROMOTING,
            "reason": outcome.reason,
            "message": f"{message}; {why}" if why else message,
            "canary": canary,
            "rollout": outcome.rollout,
        }
    )
    return _Draft(going_on, POLL_ROLLOUT, _told_of_weight(rollout, outcome, canary))


def _told_of_weight(rollout: RolloutStatus, outcome: Outcome, canary: Revision) -> tuple[Event, ...]:
    """A weight that changed."""
    weight = outcome.rollout.desired_weight
    if weight == rollout.desired_weight:
        return ()
    if outcome.rollout.interruption is not None:
        return (Event(EventType.WARNING, CANARY_UNAVAILABLE, f"{named(canary)} gets no requests: {outcome.message}"),)
    message = f"{machine.step_of(outcome.rollout)}: {weight}% of the requests to {named(canary)}"
    return (Event(EventType.NORMAL, "RolloutStep", message),)


def _promote(service: ModelService, status: ModelServiceStatus, rollout: RolloutStatus, now: datetime) -> _Draft:
    """The canary becomes stable: pointers move, no pod restarts. It has had all requests for a grace."""
    assert status.canary is not None
    stable = status.canary.model_copy(update={"replicas": service.spec.scaling.replicas})
    by_a_person = by_hand.is_promoted(rollout)
    reason = by_hand.PROMOTED_BY_HAND if by_a_person else "Promoted"
    how = by_hand.said(rollout) if by_a_person else f"promoted after {rollout.steps} steps"
    message = f"{named(stable)} is {how} and gets all requests"
    promoted = status.model_copy(
        update={
            "phase": Phase.STABLE,
            "reason": reason,
            "message": message,
            "stable": stable,
            "canary": None,
            "rollout": None,
            "failure": None,
            "promotion": _promise(service, status, stable),
            "pending_outcomes": _tell(status, stable, RolloutOutcome.PROMOTED, reason),
            "history": _record(status, stable, rollout, RolloutOutcome.PROMOTED, reason, now),
        }
    )
    return _Draft(promoted, POLL_WAITING, (Event(EventType.NORMAL, "Promoted", message),))


def _roll_back(
    status: ModelServiceStatus,
    rollout: RolloutStatus,
    reason: str,
    message: str,
    trouble: Trouble | None,
    now: datetime,
) -> _Draft:
    """All requests go back to stable at once; the canary's pods go when the gateway has let go of them."""
    assert status.canary is not None
    back = rollout.model_copy(update={"desired_weight": 0, "since": now})
    digest = _identity(status.canary)
    entry = RejectedDigest(
        digest=digest, revision=status.canary.revision, reason=reason, message=message[:MAX_LINE], time=now
    )
    others = tuple(known for known in status.rejected if known.digest != digest)
    judged = Failure(class_=FailureClass.GATE, reason=reason, message=message, hint=ROLLBACK_HINTS.get(reason))
    failure = _failure(trouble) if trouble else judged
    rolling = status.model_copy(
        update={
            "phase": Phase.ROLLING_BACK,
            "reason": reason,
            "message": f"{named(status.canary)} is rolled back, and all requests go to the stable revision: {message}",
            "rollout": back,
            "rejected": (*others, entry)[-MAX_HISTORY:],
            "failure": failure,
            "pending_outcomes": _tell(status, status.canary, RolloutOutcome.ROLLED_BACK, reason),
        }
    )
    event = Event(EventType.WARNING, "RolledBack", f"{named(status.canary)}: {reason}: {message}")
    return _Draft(rolling, POLL_ROLLOUT, (event,))


def _abort(status: ModelServiceStatus, rollout: RolloutStatus, message: str, now: datetime) -> _Draft:
    """A person turns the canary back: it is not tried again by itself, and nothing is said against the model."""
    assert status.canary is not None
    back = _roll_back(status, rollout, by_hand.ABORTED, message, None, now).status
    text = f"{named(status.canary)} is {message}, and all requests go to the stable revision"
    aborted = back.model_copy(
        update={
            "message": text,
            "failure": status.failure,
            "pending_outcomes": _tell(status, status.canary, RolloutOutcome.ABORTED, by_hand.ABORTED),
        }
    )
    return _Draft(aborted, POLL_ROLLOUT, (Event(EventType.NORMAL, by_hand.ABORTED, text),))


def _rolling_back(service: ModelService, status: ModelServiceStatus, observed: Observed, now: datetime) -> _Draft:
    """The canary's pods stay until the route has been seen without them for a grace."""
    assert status.rollout is not None
    gone_at = (status.rollout.since or now) + apply_grace(observed.gateway_throttle)
    # A gateway that is behind still sends what an earlier route says; one that refuses the newest has let go.
    if not _is_routed(service, status, observed) or observed.route_behind:
        late = status.rollout.model_copy(update={"since": now})
        return _Draft(status.model_copy(update={"rollout": late}), POLL_ROLLOUT)
    if now < gone_at:
        return _Draft(status, max((gone_at - now).total_seconds(), 0.1))
    by_reason = {"Superseded": RolloutOutcome.SUPERSEDED, by_hand.ABORTED: RolloutOutcome.ABORTED}
    outcome = by_reason.get(status.reason or "", RolloutOutcome.ROLLED_BACK)
    history = status.history
    if status.canary is not None:
        history = _record(status, status.canary, status.rollout, outcome, status.reason or "", now)
    done = status.model_copy(
        update={
            "phase": Phase.STABLE if outcome is RolloutOutcome.SUPERSEDED else Phase.ROLLED_BACK,
            "canary": None,
            "rollout": None,
            "history": history,
        }
    )
    return _Draft(done, POLL_ROLLOUT)


def _supersede(status: ModelServiceStatus, now: datetime) -> _Draft:
    """Something else is to be served: first all requests go back to stable, then it starts anew."""
    assert status.canary is not None
    rollout = status.rollout or RolloutStatus(id=status.canary.revision, step=0, steps=0, since=now)
    message = (
        f"the rollout of {named(status.canary)} is superseded, because spec.model points at another version or the "
        "spec has changed; all requests go to the stable revision"
    )
    back = status.model_copy(
        update={
            "phase": Phase.ROLLING_BACK,
            "reason": "Superseded",
            "message": message,
            "rollout": rollout.model_copy(update={"desired_weight": 0, "since": now}),
            "pending_outcomes": _tell(status, status.canary, RolloutOutcome.SUPERSEDED, "Superseded"),
        }
    )
    return _Draft(back, POLL_ROLLOUT, (Event(EventType.NORMAL, "Superseded", message),))


# --- parts of a status -----------------------------------------------------------------------------------------------


def _refreshed(service: ModelService, observed: Observed, now: datetime) -> ModelServiceStatus:
    """The status with the pods that are ready now, and that the stable revision should have now."""
    status = service.status

    def counted(revision: Revision | None) -> Revision | None:
        if revision is None:
            return None
        pods = observed.pods_of(revision.revision)
        ready = sum(pod.takes_requests(now) for pod in pods)
        return revision.model_copy(update={"ready_replicas": ready, "load": load_of(revision.load, pods)})

    stable = counted(status.stable)
    if stable is not None:
        stable = stable.model_copy(update={"replicas": service.spec.scaling.replicas})
    return status.model_copy(update={"stable": stable, "canary": counted(status.canary)})


def _answered_retry(service: ModelService, status: ModelServiceStatus) -> tuple[Patch, ...]:
    """A wish to try again is taken off when it is granted: left there, it would be granted again and again."""
    granted = status.canary if status.rollout is not None else status.stable
    if granted is None or not is_asked_for(service, granted):
        return ()
    meta = service.metadata
    gone: Object = {"metadata": {"uid": meta.uid, "annotations": {RETRY_ANNOTATION: None}}}
    return (Patch(MODELSERVICES, meta.namespace, meta.name, gone),)


def _promise(service: ModelService, status: ModelServiceStatus, revision: Revision) -> PromotionStatus | None:
    """The intent to point the promotion alias at the revision's version."""
    promotion = service.spec.rollout.promotion
    if promotion is None or revision.model is None or revision.model.version is None:
        return None
    known = status.promotion if status.promotion and status.promotion.alias == promotion.alias else None
    return PromotionStatus(
        alias=promotion.alias,
        expected_version=known.expected_version if known else None,
        pending_version=revision.model.version,
    )


def _promise_anew(service: ModelService, status: ModelServiceStatus, stable: Revision) -> PromotionStatus | None:
    """Also what takes no rollout moves the alias: the same files in another model, an alias named later."""
    known, wanted = status.promotion, _promise(service, status, stable)
    if known is None or wanted is None:
        return wanted or known
    promised = known.pending_version or known.expected_version
    return known if known.alias == wanted.alias and promised == wanted.pending_version else wanted


def _tell(
    status: ModelServiceStatus, revision: Revision, outcome: RolloutOutcome, reason: str, difference: str | None = None
) -> tuple[PendingOutcome, ...]:
    """What is pending is about the stable revision's model: version 1 of another model is another version 1. That the
    bytes that serve were rolled back with another spec says nothing about them.
    """
    if revision.model is None or revision.model.version is None:
        return status.pending_outcomes
    version, same_model = revision.model.version, _model_name(status.stable) == revision.model.name
    serves = status.stable is not None and _identity(status.stable) == _identity(revision)
    turned_back = outcome not in (RolloutOutcome.PROMOTED, RolloutOutcome.SAME_FILES)
    if turned_back and (serves or not same_model):
        return status.pending_outcomes
    others = tuple(entry for entry in status.pending_outcomes if same_model and entry.version != version)
    told = PendingOutcome(version=version, outcome=outcome, reason=reason, difference=difference)
    return (*others, told)[-MAX_HISTORY:]


def _record(
    status: ModelServiceStatus,
    revision: Revision,
    rollout: RolloutStatus,
    outcome: RolloutOutcome,
    reason: str,
    now: datetime,
    difference: str | None = None,
) -> tuple[RolloutRecord, ...]:
    act = rollout.act if reason in (by_hand.ABORTED, by_hand.PROMOTED_BY_HAND) else None
    entry = RolloutRecord(
        id=rollout.id,
        revision=revision.revision,
        version=revision.model.version if revision.model else None,
        outcome=outcome,
        reason=reason,
        by=act.by if act is not None else None,
        difference=difference,
        started_at=rollout.started_at,
        finished_at=now,
    )
    return (*status.history, entry)[-MAX_HISTORY:]


def _worst(observed: Observed, revision: str) -> Trouble | None:
    found = (
        observed.refusal,
        observed.missing_pods.get(revision),
        *(pod.trouble for pod in observed.pods_of(revision)),
    )
    troubles = [trouble for trouble in found if trouble is not None]
    return min(troubles, key=lambda trouble: not trouble.final, default=None)


def _problem(trouble: Trouble | None) -> Problem | None:
    if trouble is None:
        return None
    return Problem(trouble.reason, _sentence(trouble), is_final=trouble.final, is_platforms=trouble.is_platforms)


def _failure(trouble: Trouble) -> Failure:
    known = {member.value: member for member in FailureClass}
    return Failure(
        class_=known.get(trouble.failure_class, FailureClass.KILLED),
        reason=trouble.reason,
        exit_code=trouble.exit_code,
        pod=trouble.pod or None,
        container=trouble.container or None,
        message=trouble.message,
        retryable=not trouble.final,
        hint=trouble.hint or None,
    )


def _sentence(trouble: Trouble) -> str:
    return joined(trouble.message, trouble.hint)


def _model_name(revision: Revision | None) -> str | None:
    return revision.model.name if revision is not None and revision.model is not None else None


def _serving(revision: Revision) -> str:
    return f"serves {named(revision)}"


# --- objects ---------------------------------------------------------------------------------------------------------


def _objects(service: ModelService, status: ModelServiceStatus, observed: Observed, settings: Settings) -> Plan:
    creates: list[tuple[Resource, Object]] = []
    applies: list[tuple[Resource, Object]] = []
    templates: dict[str, Object] = {}
    revisions = [revision for revision in (status.stable, status.canary) if revision is not None]
    for revision in revisions:
        template = observed.templates.get(revision.revision)
        if template is None and why_not(service.spec.runtime, settings.runtimes, settings.refused_runtimes) is not None:
            continue  # its record is gone, and what it was made of is not known any more: what is there stays
        if template is None:
            artifact = artifact_of(revision)
            template = render.render_template(service, revision.revision, artifact, settings)
            creates.append((CONTROLLERREVISIONS, render.render_record(service, revision.revision, template)))
        templates[revision.revision] = template
        replicas = max(revision.replicas, 1)
        applies.append((DEPLOYMENTS, render.render_deployment(service, revision.revision, template, replicas)))
        applies.append((SERVICES, render.render_service(service, revision.revision, revision.revision, template)))
        applies.append((PDBS, render.render_budget(service, revision.revision)))
    keep = {revision.revision for revision in revisions}
    names = set(keep)
    if status.stable is not None:
        stable = status.stable.revision
        if stable in templates:
            applies.append((SERVICES, render.render_service(service, service.metadata.name, stable, templates[stable])))
        names.add(service.metadata.name)
        if _has_route(service, observed):
            applies.append((HTTPROUTES, _route(service, status, observed)))
    # After the route: where a policy is refused, the requests are given back all the same.
    if _has_policy(settings) and (policy := render_network_policy(service, settings))["spec"] != observed.policy:
        applies.append((NETWORKPOLICIES, policy))
    deletes = tuple(
        Delete(owned.resource, service.metadata.namespace, owned.name, owned.uid)
        for owned in observed.owned
        if not _is_wanted(owned.resource, owned.name, names, service, observed, settings)
    )
    return Plan(creates=tuple(creates), applies=tuple(applies), deletes=deletes)


def _is_wanted(
    resource: Resource,
    name: str,
    names: set[str],
    service: ModelService,
    observed: Observed,
    settings: Settings,
) -> bool:
    if resource == HTTPROUTES:
        return name == service.metadata.name and _has_route(service, observed)
    if resource == NETWORKPOLICIES:
        return name == policy_name(service.metadata.name) and _has_policy(settings)
    return name in names


def _has_policy(settings: Settings) -> bool:
    return settings.network_policies and settings.serving_policies


def _has_route(service: ModelService, observed: Observed) -> bool:
    """Where somebody else has what it asks for, it keeps the route that it has, if that is nobody else's."""
    free = not observed.route_conflict or observed.route_kept is not None
    return service.spec.route is not None and observed.gateway_api and free


def _is_routed(service: ModelService, status: ModelServiceStatus, observed: Observed) -> bool:
    """The live route gives each revision what status promises it; where there is no route, nothing has to."""
    if not _has_route(service, observed):
        return True
    return observed.weights == {name: weight for name, weight in _backends(status) if weight > 0}


def _unprogrammed(service: ModelService, observed: Observed) -> tuple[str, str] | None:
    """Why the gateway does not carry the route as it is now: reason and message."""
    if not _has_route(service, observed):
        return None
    if observed.route_accepted is False:
        return "RouteRefused", route_refused(observed)
    if observed.route_accepted is None:
        return "RoutePending", NOT_ANSWERED
    return ("Applying", observed.route_behind) if observed.route_behind else None


def _backends(status: ModelServiceStatus) -> tuple[tuple[str, int], ...]:
    assert status.stable is not None
    if status.canary is None:
        return ((status.stable.revision, machine.ALL),)
    share = status.rollout.desired_weight if status.rollout is not None else 0
    return ((status.stable.revision, machine.ALL - share), (status.canary.revision, share))


def _route(service: ModelService, status: ModelServiceStatus, observed: Observed) -> Object:
    assert status.stable is not None
    labels = render.labels(service, status.stable.revision)
    metadata = render.metadata(service, service.metadata.name, labels)
    if observed.route_kept is not None:
        return divide_anew(observed.route_kept, metadata, _backends(status))
    return render_route(service, metadata, _backends(status))
