"""The canary as a state machine (pure): from one look at a rollout to its next state, or to its end.

A rollout is prepared (step 0), walks its steps (1 to n), and gets everything (step n+1). Pods come before the weight
that needs them; a weight counts as applied a grace after it was seen in the route; a step ends when its hold is over
and each check passes; missing data holds it. What pods cannot report (a crash) ends it at once. Nothing
is given back to a stable revision that has no ready pod: whoever still gets answers keeps them, until it has.

A canary without a ready pod gets no requests until it has one again, and then the step's weight and its hold anew.
Where its pods were deleted or evicted that is no fault of the model; else it is rolled back after a grace, or the
third time.

Where a rollout goes next is told by its weight and not by its step's number: the steps may be edited meanwhile, and
the weight only rises all the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from math import ceil

from headrace.api.modelservice import (
    Analysis,
    Baseline,
    CheckStatus,
    Interruption,
    NoData,
    Rollout,
    RolloutStatus,
    Verdict,
)
from headrace.clock import shown
from headrace.rollout import by_hand
from headrace.rollout.analysis import baseline_of, judge, window, with_unseen
from headrace.rollout.counters import Counters
from headrace.rollout.propagation import THROTTLE, apply_grace

APPLY_GRACE = apply_grace(THROTTLE)
# What pods get at least from the moment that an operator is there (again).
RETURN_GRACE = timedelta(minutes=2)
# What a canary that lost its last ready pod by itself gets to have one again, and how often it may need it.
LOSS_GRACE = timedelta(seconds=30)
MAX_LOSSES = 2
MAX_BASELINES = 64
STABLE_UNAVAILABLE = "StableUnavailable"
CANARY_UNAVAILABLE = "CanaryUnavailable"
ALL = 100


class Decision(StrEnum):
    """What becomes of a rollout after a look."""

    GO_ON = "GoOn"
    PROMOTE = "Promote"
    ROLL_BACK = "RollBack"


@dataclass(frozen=True)
class Problem:
    """What keeps a pod of the canary from working."""

    reason: str
    message: str
    is_final: bool = False  # waiting cannot help
    is_platforms: bool = False  # no node, no image, no quota: no fault of the model


@dataclass(frozen=True)
class Look:
    """What is seen of both revisions at one moment."""

    now: datetime
    stable_ready: int
    canary_ready: int
    canary: Mapping[str, Counters]
    stable: Mapping[str, Counters]
    gateway: Mapping[str, Counters] = field(default_factory=dict)  # of the canary, by instance of the gateway
    routed: bool = True  # the route carries the desired weight
    unprogrammed: tuple[str, str] | None = None  # reason and message: why the gateway does not carry the route
    apply_grace: timedelta = APPLY_GRACE
    problem: Problem | None = None
    disrupted: bool = False  # a pod of the canary is being taken from outside
    replaced: bool = False  # no pod is left of those that the canary had when the step began
    watched_since: datetime | None = None  # the operator that looks was not there before


@dataclass(frozen=True)
class Outcome:
    """The next state, and why."""

    decision: Decision
    rollout: RolloutStatus
    reason: str
    message: str


def begin(rollout_id: str, spec: Rollout, now: datetime) -> RolloutStatus:
    """A rollout before its first weight."""
    return RolloutStatus(
        id=rollout_id,
        step=0,
        steps=len(spec.steps),
        started_at=now,
        since=now,
        ready_by=now + spec.progress_deadline,
    )


def replicas_for(weight: int, full: int) -> int:
    """Pods for a share of the requests, at least one."""
    return min(full, max(1, ceil(full * weight / ALL)))


def canary_replicas(rollout: RolloutStatus, spec: Rollout, full: int) -> int:
    """Pods that the next step needs: they come before its weight."""
    return replicas_for(_next_weight(rollout, spec), full)


def step_of(rollout: RolloutStatus) -> str:
    """How a message names the step. The last one, with all requests, is none of the spec."""
    if rollout.steps == 0:
        return "rollout without steps"
    return f"step {rollout.step} of {rollout.steps}" if rollout.step <= rollout.steps else "after the last step"


def alone_answers(rollout: RolloutStatus, stable_ready: int, canary_ready: int) -> bool:
    """Only the canary has ready pods for the requests that it gets."""
    return stable_ready == 0 and canary_ready > 0 and rollout.desired_weight > 0


def advance(rollout: RolloutStatus, spec: Rollout, full: int, look: Look) -> Outcome:
    """One look."""
    outcome = _advance(rollout, spec, full, look)
    alone = alone_answers(rollout, look.stable_ready, look.canary_ready)
    if outcome.decision is Decision.ROLL_BACK and alone:
        message = (
            f"the canary has to be rolled back ({outcome.reason}: {outcome.message}), but no pod of the stable "
            f"revision is ready; the canary keeps {rollout.desired_weight}% of the requests until one is; check the "
            "stable revision's pods"
        )
        return Outcome(Decision.GO_ON, outcome.rollout, STABLE_UNAVAILABLE, message)
    return outcome


def _advance(rollout: RolloutStatus, spec: Rollout, full: int, look: Look) -> Outcome:
    if by_hand.is_aborted(rollout):
        return Outcome(Decision.ROLL_BACK, rollout, by_hand.ABORTED, by_hand.said(rollout))
    if look.problem is not None and look.problem.is_final:
        return Outcome(Decision.ROLL_BACK, rollout, look.problem.reason, look.problem.message)
    if rollout.interruption is not None:
        return _wait_for_endpoints(rollout, rollout.interruption, spec, full, look)
    if rollout.desired_weight == 0:
        return _next_step(rollout, spec, full, look, "Preparing")
    if look.canary_ready == 0:
        return _interrupt(rollout, spec, full, look)
    if rollout.applied_weight != rollout.desired_weight:
        return _apply(rollout, spec, look)
    if rollout.desired_weight == ALL:
        return _promote(rollout, spec, full, look)
    if look.disrupted:
        rollout = _without_gateway(rollout, look)
    return _hold(_with_late_pods(rollout, look), spec, full, look)


def _interrupt(rollout: RolloutStatus, spec: Rollout, full: int, look: Look) -> Outcome:
    """All requests go back to stable for the while: a weight without endpoints fails its share."""
    lost = Interruption(weight=rollout.desired_weight, since=look.now)
    without = rollout.model_copy(
        update={
            "interruption": lost,
            "desired_weight": 0,
            "applied_weight": 0,
            "applied_at": None,
            "ready_by": look.now + max(spec.progress_deadline, LOSS_GRACE),
        }
    )
    return _wait_for_endpoints(without, lost, spec, full, look)


def _wait_for_endpoints(rollout: RolloutStatus, lost: Interruption, spec: Rollout, full: int, look: Look) -> Outcome:
    """Then it gets the same weight again."""
    lost = lost.model_copy(update={"disrupted": lost.disrupted or look.disrupted or look.replaced})
    rollout = rollout.model_copy(update={"interruption": lost})
    if look.canary_ready == 0 and not lost.disrupted and (outcome := _blame(rollout, lost, look)) is not None:
        return outcome
    if (waits := _wait_for_pods(rollout, spec, lost.weight, full, look, CANARY_UNAVAILABLE)) is not None:
        cause = "; its pods were deleted, evicted, preempted or lost with their node" if lost.disrupted else ""
        return replace(waits, message=f"{waits.message}{cause}; the canary gets no requests until then")
    losses = rollout.losses + (not lost.disrupted)
    return _step_to(lost.weight, rollout.model_copy(update={"interruption": None, "losses": losses}), spec, look)


def _blame(rollout: RolloutStatus, lost: Interruption, look: Look) -> Outcome | None:
    """The canary's end, when it lost its pods by itself for too long or too often."""
    problem = look.problem
    if problem is not None and problem.is_platforms:
        return None
    too_often = rollout.losses >= MAX_LOSSES
    if not too_often and not _is_over((lost.since or look.now) + LOSS_GRACE, LOSS_GRACE, look):
        return None
    if problem is not None:
        return Outcome(Decision.ROLL_BACK, rollout, problem.reason, problem.message)
    seconds = f"{LOSS_GRACE.total_seconds():.0f} s"
    times = f"the canary lost its last ready pod {MAX_LOSSES + 1} times"
    what = times if too_often else f"no pod of the canary was ready for {seconds}"
    message = f"{what}, and no pod was deleted, evicted or preempted; check the pods' logs and Events"
    return Outcome(Decision.ROLL_BACK, rollout, "EndpointsLost", message)


def _apply(rollout: RolloutStatus, spec: Rollout, look: Look) -> Outcome:
    message = (
        f"{step_of(rollout)}: waiting for the Gateway to apply a weight of {rollout.desired_weight}% for the canary"
    )
    if not look.routed:  # an operator that was killed may have promised the weight and not written it
        late = rollout.model_copy(update={"since": look.now})
        return Outcome(Decision.GO_ON, late, "Applying", message)
    if look.unprogrammed is not None:
        # One of several gateways may carry it all the same: what the canary answers meanwhile is judged.
        rollout = _with_late_pods(rollout.model_copy(update={"since": look.now}), look)
        rollout, failed = _judged(rollout, spec.analysis, look)
        reason, why = look.unprogrammed
        return failed or Outcome(Decision.GO_ON, rollout, reason, f"{message}: {why}")
    since = rollout.since or look.now
    if look.now < since + look.apply_grace:
        return Outcome(Decision.GO_ON, rollout, "Applying", message)
    applied = rollout.model_copy(
        update={"applied_weight": rollout.desired_weight, "applied_at": look.now, "looked_at": look.now}
    )
    return Outcome(Decision.GO_ON, _with_late_pods(applied, look), "Holding", _holding(applied, spec, look.now))


def _promote(rollout: RolloutStatus, spec: Rollout, full: int, look: Look) -> Outcome:
    """It has all requests; until all of its pods are ready the stable ones are the way back."""
    if by_hand.is_paused(rollout):
        return _paused(rollout)
    if look.unprogrammed is not None:
        return Outcome(Decision.GO_ON, rollout, *look.unprogrammed)
    if (waits := _wait_for_pods(rollout, spec, ALL, full, look, "WaitingForPods")) is not None:
        return waits
    return Outcome(Decision.PROMOTE, rollout, "Promoted", "all steps have passed")


def _with_late_pods(rollout: RolloutStatus, look: Look) -> RolloutStatus:
    """Pods are counted from where they were first seen in this step: also one that came, or answered, later."""
    late: dict[str, Baseline] = {}
    known = {baseline.pod for baseline in rollout.baselines}
    for seen in (look.canary, look.stable, look.gateway):  # where pods tell nothing the first is the last one
        late |= {pod: baseline_of(pod, counts) for pod, counts in sorted(seen.items()) if pod not in known}
    added = tuple(late.values())[: MAX_BASELINES - len(known)]
    return rollout.model_copy(update={"baselines": (*rollout.baselines, *added)}) if added else rollout


def _without_gateway(rollout: RolloutStatus, look: Look) -> RolloutStatus:
    """What fails on its way to a pod that is being taken is no fault of the canary: it is counted anew from now."""
    kept = tuple(baseline for baseline in rollout.baselines if baseline.pod not in look.gateway)
    return rollout.model_copy(update={"baselines": kept})


def _hold(rollout: RolloutStatus, spec: Rollout, full: int, look: Look) -> Outcome:
    analysis, applied_at = spec.analysis, rollout.applied_at or look.now
    if look.canary_ready >= canary_replicas(rollout, spec, full):
        rollout = rollout.model_copy(update={"ready_by": None})  # the deadline is for pods alone, not for this hold
    if by_hand.is_promoted(rollout):
        return _next_step(rollout, spec, full, look, "WaitingForPods")
    rollout, failed = _judged(rollout, analysis, look)
    if failed is not None:
        return failed
    if by_hand.ends_step(rollout):
        return _next_step(rollout, spec, full, look, "WaitingForPods")
    if look.unprogrammed is not None:  # no time in which the requests do not come as they should is part of a hold
        return Outcome(Decision.GO_ON, rollout.model_copy(update={"applied_at": look.now}), *look.unprogrammed)
    ends = applied_at + _hold_of(rollout, spec)
    if look.now < ends:
        return Outcome(Decision.GO_ON, rollout, "Holding", _holding(rollout, spec, applied_at))
    if analysis is not None and (open_check := _open_check(rollout, analysis, applied_at)) is not None:
        return open_check
    if by_hand.waits_for_person(rollout, spec):
        return _waiting_for_person(rollout)
    return _next_step(rollout, spec, full, look, "WaitingForPods")


def _judged(rollout: RolloutStatus, analysis: Analysis | None, look: Look) -> tuple[RolloutStatus, Outcome | None]:
    """With the checks that are due looked at, and the end where one has failed too often."""
    if analysis is None:
        return rollout, None
    if look.now >= (rollout.looked_at or look.now) + analysis.interval:
        rollout = _look_at_checks(rollout, analysis, look)
    failed = next((check for check in rollout.checks if check.failures > analysis.failure_limit), None)
    if failed is None:
        return rollout, None
    return rollout, Outcome(Decision.ROLL_BACK, rollout, "AnalysisFailed", f"check {_result(failed)}")


def _open_check(rollout: RolloutStatus, analysis: Analysis, applied_at: datetime) -> Outcome | None:
    """What the checks hold against the end of the step; None: each passes."""
    looked = rollout.looked_at is not None and rollout.looked_at > applied_at
    checks = {check.name: check for check in rollout.checks} if looked else {}
    unseen = [check.name for check in analysis.checks if check.name not in checks]
    if unseen:
        message = f"{step_of(rollout)}: the hold is over; waiting for the first evaluation of check {', '.join(unseen)}"
        return Outcome(Decision.GO_ON, rollout, "Holding", message)
    judged = [checks[check.name] for check in analysis.checks]
    missing = "; ".join(f"check {_result(check)}" for check in judged if _lacks_data(check))
    if missing:
        if analysis.no_data is NoData.ROLLBACK:
            message = f"{missing}: too few when the hold of {step_of(rollout)} was over (noData: Rollback)"
            return Outcome(Decision.ROLL_BACK, rollout, "NoData", message)
        waits = f"{step_of(rollout)}: the hold is over; waiting for more requests (noData: Hold): {missing}"
        return Outcome(Decision.GO_ON, rollout, "MinRequests", f"{waits}; send requests, or lower minRequests")
    failing = next((check for check in judged if check.verdict is Verdict.FAIL), None)
    if failing is not None:
        message = (
            f"check {_result(failing)}; failed evaluations: {failing.failures}, the canary is rolled back after more "
            f"than {analysis.failure_limit} (failureLimit)"
        )
        return Outcome(Decision.GO_ON, rollout, "CheckFailing", message)
    return None


def _result(check: CheckStatus) -> str:
    return f"{check.name}: {check.message}"


def _share(rollout: RolloutStatus) -> str:
    return f"{step_of(rollout)}: the canary gets {rollout.desired_weight}% of the requests"


def _holding(rollout: RolloutStatus, spec: Rollout, applied_at: datetime) -> str:
    hold = _hold_of(rollout, spec)
    return f"{_share(rollout)}; the hold ends at {shown(applied_at + hold)}" if hold else _share(rollout)


def _paused(rollout: RolloutStatus) -> Outcome:
    return Outcome(Decision.GO_ON, rollout, by_hand.PAUSED, f"{_share(rollout)}; {by_hand.said(rollout)}")


def _waiting_for_person(rollout: RolloutStatus) -> Outcome:
    message = f"{_share(rollout)}; it waits for a person, as the pause of the step says"
    return Outcome(Decision.GO_ON, rollout, by_hand.WAITING_FOR_PERSON, message)


def _look_at_checks(rollout: RolloutStatus, analysis: Analysis, look: Look) -> RolloutStatus:
    """The same evidence counts once: without new requests of the canary a check does not fail again."""
    stable = window(look.stable, rollout.baselines)
    canary = with_unseen(window(look.canary, rollout.baselines), window(look.gateway, rollout.baselines))
    before = {check.name: check for check in rollout.checks}
    checks = tuple(judge(check, canary, stable, before.get(check.name)) for check in analysis.checks)
    if canary.asked <= rollout.canary_requests:
        known = {name: check.failures for name, check in before.items()}
        checks = tuple(check.model_copy(update={"failures": known.get(check.name, 0)}) for check in checks)
    return rollout.model_copy(update={"checks": checks, "looked_at": look.now, "canary_requests": canary.asked})


def _lacks_data(check: CheckStatus) -> bool:
    return check.verdict in (Verdict.WAITING, Verdict.NO_DATA)


def _next_step(rollout: RolloutStatus, spec: Rollout, full: int, look: Look, waiting: str) -> Outcome:
    if by_hand.is_paused(rollout):
        return _paused(rollout)
    if look.unprogrammed is not None:
        return Outcome(Decision.GO_ON, rollout, *look.unprogrammed)
    weight = _next_weight(rollout, spec)
    if (waits := _wait_for_pods(rollout, spec, weight, full, look, waiting)) is not None:
        return waits
    return _step_to(weight, rollout, spec, look)


def _step_to(weight: int, rollout: RolloutStatus, spec: Rollout, look: Look) -> Outcome:
    """A step begins: its hold, and what is counted in it."""
    stepped = rollout.model_copy(
        update={
            "step": sum(step.weight < weight for step in spec.steps) + 1,
            "steps": len(spec.steps),
            "since": look.now,
            "desired_weight": weight,
            "applied_at": None,
            "looked_at": None,
            "ready_by": None,
            "canary_requests": 0,
            "baselines": (),
            # Failures add up over the rollout; verdicts are a step's own.
            "checks": tuple(
                check.model_copy(update={"verdict": Verdict.WAITING, "message": "", "samples": 0})
                for check in rollout.checks
            ),
        }
    )
    message = f"{step_of(stepped)}: setting the weight of the canary to {weight}% of the requests"
    return Outcome(Decision.GO_ON, stepped, "Applying", message)


def _wait_for_pods(
    rollout: RolloutStatus, spec: Rollout, weight: int, full: int, look: Look, waiting: str
) -> Outcome | None:
    """None when the pods for a weight are ready. A wait for them has a deadline, which is nobody else's to use up."""
    needed = replicas_for(weight, full)
    if look.canary_ready >= needed:
        return None
    deadline = rollout.ready_by or look.now + spec.progress_deadline
    waits = rollout.model_copy(update={"ready_by": deadline})
    seen = f"{look.canary_ready} of {needed} pods of the canary are ready for a weight of {weight}%"
    message = f"waiting for pods: {seen}"
    blocked = look.problem if look.problem is not None and look.problem.is_platforms else None
    if blocked is not None or look.disrupted:
        if look.now >= deadline - spec.progress_deadline / 2:  # what is mended in the end has time to start
            waits = rollout.model_copy(update={"ready_by": look.now + spec.progress_deadline})
        return Outcome(Decision.GO_ON, waits, blocked.reason if blocked else waiting, message)
    if _is_over(deadline, spec.progress_deadline, look):
        return Outcome(Decision.ROLL_BACK, waits, "ProgressDeadlineExceeded", f"{seen}, and progressDeadline is over")
    return Outcome(Decision.GO_ON, waits, waiting, message)


def _is_over(deadline: datetime, patience: timedelta, look: Look) -> bool:
    """While no operator was there nobody made the pods: it is no fault of theirs."""
    watched_since = look.watched_since or look.now - RETURN_GRACE
    return look.now >= max(deadline, watched_since + min(patience, RETURN_GRACE))


def _next_weight(rollout: RolloutStatus, spec: Rollout) -> int:
    if by_hand.is_promoted(rollout):
        return ALL
    reached = rollout.interruption.weight if rollout.interruption is not None else rollout.desired_weight
    return min((step.weight for step in spec.steps if step.weight > reached), default=ALL)


def _hold_of(rollout: RolloutStatus, spec: Rollout) -> timedelta:
    """None for a weight that is no step any more; its checks have to pass all the same."""
    holds = (step.hold for step in spec.steps if step.weight == rollout.desired_weight)
    return next(holds, timedelta(0))
