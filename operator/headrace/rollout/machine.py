"""The canary as a state machine (pure): from one look at a rollout to its next state, or to its end.

A rollout is prepared (step 0), walks its steps (1 to n), and gets everything (step n+1). Pods come before the weight
that needs them; a weight counts as applied a grace after it was seen in the route; a step ends when its hold is over
and each check passes; missing data holds it. What pods cannot report (a crash, lost endpoints) ends it at once. Nothing
is given back to a stable revision that has no ready pod: whoever still gets answers keeps them, until it has.

Where a rollout goes next is told by its weight and not by its step's number: the steps may be edited meanwhile, and
the weight only rises all the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from math import ceil

from headrace.api.modelservice import Analysis, CheckStatus, NoData, Rollout, RolloutStatus, Verdict
from headrace.rollout.analysis import baseline_of, judge, window, with_unseen
from headrace.rollout.counters import Counters

# Traefik applies a change at most 2 s after the one before (up to 1.9 s were seen).
APPLY_GRACE = timedelta(seconds=4)
# What pods get at least from the moment that an operator is there (again).
RETURN_GRACE = timedelta(minutes=2)
MAX_BASELINES = 64
STABLE_UNAVAILABLE = "StableUnavailable"
ALL = 100


class Decision(StrEnum):
    """What becomes of a rollout after a look."""

    GO_ON = "GoOn"
    PROMOTE = "Promote"
    ROLL_BACK = "RollBack"


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
    problem: tuple[str, str] | None = None  # reason and message of what ends it at once
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


def alone_answers(rollout: RolloutStatus, stable_ready: int, canary_ready: int) -> bool:
    """Only the canary has ready pods for the requests that it gets."""
    return stable_ready == 0 and canary_ready > 0 and rollout.desired_weight > 0


def advance(rollout: RolloutStatus, spec: Rollout, full: int, look: Look) -> Outcome:
    """One look."""
    outcome = _advance(rollout, spec, full, look)
    alone = alone_answers(rollout, look.stable_ready, look.canary_ready)
    if outcome.decision is Decision.ROLL_BACK and alone:
        message = f"{outcome.reason}, but no pod of the stable revision is ready to take over: {outcome.message}"
        return Outcome(Decision.GO_ON, outcome.rollout, STABLE_UNAVAILABLE, message)
    return outcome


def _advance(rollout: RolloutStatus, spec: Rollout, full: int, look: Look) -> Outcome:
    if look.problem is not None:
        return Outcome(Decision.ROLL_BACK, rollout, *look.problem)
    if rollout.desired_weight == 0:
        return _next_step(rollout, spec, full, look, "Preparing")
    if look.canary_ready == 0:
        return Outcome(Decision.ROLL_BACK, rollout, "EndpointsLost", "no pod of the canary is ready any more")
    if rollout.applied_weight != rollout.desired_weight:
        return _apply(rollout, look)
    if rollout.desired_weight == ALL:
        return _promote(rollout, spec, full, look)
    return _hold(_with_late_pods(rollout, look), spec, full, look)


def _apply(rollout: RolloutStatus, look: Look) -> Outcome:
    message = f"{rollout.desired_weight}% is on its way into the gateway"
    if not look.routed:  # an operator that was killed may have promised the weight and not written it
        late = rollout.model_copy(update={"since": look.now})
        return Outcome(Decision.GO_ON, late, "Applying", message)
    since = rollout.since or look.now
    if look.now < since + APPLY_GRACE:
        return Outcome(Decision.GO_ON, rollout, "Applying", message)
    applied = rollout.model_copy(
        update={"applied_weight": rollout.desired_weight, "applied_at": look.now, "looked_at": look.now}
    )
    message = f"{rollout.desired_weight}% of the requests"
    return Outcome(Decision.GO_ON, _with_late_pods(applied, look), "Holding", message)


def _promote(rollout: RolloutStatus, spec: Rollout, full: int, look: Look) -> Outcome:
    """It has all requests; until all of its pods are ready the stable ones are the way back."""
    if (waits := _wait_for_pods(rollout, spec, ALL, full, look, "WaitingForPods")) is not None:
        return waits
    return Outcome(Decision.PROMOTE, rollout, "Promoted", "every step passed")


def _with_late_pods(rollout: RolloutStatus, look: Look) -> RolloutStatus:
    """Pods are counted from where they were first seen in this step: also one that came, or answered, later."""
    known = {baseline.pod for baseline in rollout.baselines}
    late = [baseline_of(pod, counts) for pod, counts in sorted(look.canary.items()) if pod not in known]
    for others in (look.stable, look.gateway):
        late += [baseline_of(pod, counts) for pod, counts in sorted(others.items()) if pod not in known]
    room = MAX_BASELINES - len(known)
    return rollout.model_copy(update={"baselines": (*rollout.baselines, *late[:room])}) if late[:room] else rollout


def _hold(rollout: RolloutStatus, spec: Rollout, full: int, look: Look) -> Outcome:
    analysis, applied_at = spec.analysis, rollout.applied_at or look.now
    if look.canary_ready >= canary_replicas(rollout, spec, full):
        rollout = rollout.model_copy(update={"ready_by": None})  # the deadline is for pods alone, not for this hold
    if analysis is not None and look.now >= (rollout.looked_at or look.now) + analysis.interval:
        rollout = _look_at_checks(rollout, analysis, look)
    if analysis is not None:
        failed = next((check for check in rollout.checks if check.failures > analysis.failure_limit), None)
        if failed is not None:
            return Outcome(Decision.ROLL_BACK, rollout, "AnalysisFailed", f"{failed.name}: {failed.message}")
    ends = applied_at + _hold_of(rollout, spec)
    if look.now < ends:
        return Outcome(Decision.GO_ON, rollout, "Holding", f"until {ends:%H:%M:%S} UTC at least")
    if analysis is not None and (open_check := _open_check(rollout, analysis, applied_at)) is not None:
        return open_check
    return _next_step(rollout, spec, full, look, "WaitingForPods")


def _open_check(rollout: RolloutStatus, analysis: Analysis, applied_at: datetime) -> Outcome | None:
    """What the checks hold against the end of the step; None: each passes."""
    looked = rollout.looked_at is not None and rollout.looked_at > applied_at
    checks = {check.name: check for check in rollout.checks} if looked else {}
    unseen = [check.name for check in analysis.checks if check.name not in checks]
    if unseen:
        return Outcome(Decision.GO_ON, rollout, "Holding", f"not looked at yet: {', '.join(unseen)}")
    judged = [checks[check.name] for check in analysis.checks]
    missing = "; ".join(check.message for check in judged if _lacks_data(check))
    if missing:
        if analysis.no_data is NoData.ROLLBACK:
            return Outcome(Decision.ROLL_BACK, rollout, "NoData", missing)
        return Outcome(Decision.GO_ON, rollout, "MinRequests", f"holds for enough requests: {missing}")
    failing = next((check for check in judged if check.verdict is Verdict.FAIL), None)
    if failing is not None:
        return Outcome(Decision.GO_ON, rollout, "CheckFailing", f"{failing.name}: {failing.message}")
    return None


def _look_at_checks(rollout: RolloutStatus, analysis: Analysis, look: Look) -> RolloutStatus:
    stable = window(look.stable, rollout.baselines)
    canary = with_unseen(window(look.canary, rollout.baselines), window(look.gateway, rollout.baselines))
    before = {check.name: check for check in rollout.checks}
    checks = tuple(judge(check, canary, stable, before.get(check.name)) for check in analysis.checks)
    return rollout.model_copy(update={"checks": checks, "looked_at": look.now})


def _lacks_data(check: CheckStatus) -> bool:
    return check.verdict in (Verdict.WAITING, Verdict.NO_DATA)


def _next_step(rollout: RolloutStatus, spec: Rollout, full: int, look: Look, waiting: str) -> Outcome:
    weight = _next_weight(rollout, spec)
    if (waits := _wait_for_pods(rollout, spec, weight, full, look, waiting)) is not None:
        return waits
    stepped = rollout.model_copy(
        update={
            "step": sum(step.weight < weight for step in spec.steps) + 1,
            "steps": len(spec.steps),
            "since": look.now,
            "desired_weight": weight,
            "applied_at": None,
            "looked_at": None,
            "ready_by": None,
            "baselines": (),
            # Failures add up over the rollout; verdicts are a step's own.
            "checks": tuple(
                check.model_copy(update={"verdict": Verdict.WAITING, "message": "", "samples": 0})
                for check in rollout.checks
            ),
        }
    )
    return Outcome(Decision.GO_ON, stepped, "Applying", f"{weight}% of the requests")


def _wait_for_pods(
    rollout: RolloutStatus, spec: Rollout, weight: int, full: int, look: Look, waiting: str
) -> Outcome | None:
    """None when the pods for a weight are ready; a wait for them has a deadline."""
    needed = replicas_for(weight, full)
    if look.canary_ready >= needed:
        return None
    deadline = rollout.ready_by or look.now + spec.progress_deadline
    waits = rollout.model_copy(update={"ready_by": deadline})
    message = f"{look.canary_ready} of {needed} pods are ready for {weight}%"
    # While no operator was there nobody made the pods: it is no fault of theirs.
    watched_since = look.watched_since or look.now - RETURN_GRACE
    if look.now >= max(deadline, watched_since + min(spec.progress_deadline, RETURN_GRACE)):
        return Outcome(Decision.ROLL_BACK, waits, "ProgressDeadlineExceeded", message)
    return Outcome(Decision.GO_ON, waits, waiting, message)


def _next_weight(rollout: RolloutStatus, spec: Rollout) -> int:
    return min((step.weight for step in spec.steps if step.weight > rollout.desired_weight), default=ALL)


def _hold_of(rollout: RolloutStatus, spec: Rollout) -> timedelta:
    """None for a weight that is no step any more; its checks have to pass all the same."""
    holds = (step.hold for step in spec.steps if step.weight == rollout.desired_weight)
    return next(holds, timedelta(0))
