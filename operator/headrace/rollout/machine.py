"""The canary as a state machine (pure): from one look at a rollout to its next state, or to its end.

A rollout is prepared (step 0), walks its steps (1 to n), and gets everything (step n+1). Pods come before the weight
that needs them; a weight counts as applied a grace after it was written; a step ends when its hold is over and each
check passes; missing data holds it. What pods cannot report (a crash, lost endpoints) ends it at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from math import ceil

from headrace.api.modelservice import Analysis, CheckStatus, NoData, Rollout, RolloutStatus, Verdict
from headrace.rollout.analysis import Counters, baseline_of, judge, window

# Traefik applies a change at most 2 s after the one before (FACTS: seen up to 1.9 s).
APPLY_GRACE = timedelta(seconds=4)
MAX_BASELINES = 64


class Decision(StrEnum):
    """What becomes of a rollout after a look."""

    GO_ON = "GoOn"
    PROMOTE = "Promote"
    ROLL_BACK = "RollBack"


@dataclass(frozen=True)
class Look:
    """What is seen of both revisions at one moment."""

    now: datetime
    canary_ready: int
    canary: Mapping[str, Counters]
    stable: Mapping[str, Counters]
    problem: tuple[str, str] | None = None  # reason and message of what ends it at once


@dataclass(frozen=True)
class Outcome:
    """The next state, and why."""

    decision: Decision
    rollout: RolloutStatus
    reason: str
    message: str


def begin(rollout_id: str, spec: Rollout, now: datetime) -> RolloutStatus:
    """A rollout before its first weight."""
    return RolloutStatus(id=rollout_id, step=0, steps=len(spec.steps), since=now, ready_by=now + spec.progress_deadline)


def replicas_for(weight: int, full: int) -> int:
    """Pods for a share of the requests, at least one."""
    return min(full, max(1, ceil(full * weight / 100)))


def canary_replicas(rollout: RolloutStatus, spec: Rollout, full: int) -> int:
    """Pods that the next step needs: they come before its weight."""
    return replicas_for(_weight(spec, rollout.step + 1), full)


def advance(rollout: RolloutStatus, spec: Rollout, full: int, look: Look) -> Outcome:
    """One look."""
    if look.problem is not None:
        return Outcome(Decision.ROLL_BACK, rollout, *look.problem)
    if rollout.step > 0 and look.canary_ready == 0:
        return Outcome(Decision.ROLL_BACK, rollout, "EndpointsLost", "no pod of the canary is ready any more")
    if rollout.step > 0 and rollout.applied_weight != rollout.desired_weight:
        return _apply(rollout, look)
    if rollout.step > len(spec.steps):
        return Outcome(Decision.PROMOTE, rollout, "Promoted", "every step passed")
    if rollout.step == 0:
        return _next_step(rollout, spec, full, look, "Preparing")
    return _hold(rollout, spec, full, look)


def _apply(rollout: RolloutStatus, look: Look) -> Outcome:
    since = rollout.since or look.now
    if look.now < since + APPLY_GRACE:
        message = f"{rollout.desired_weight}% is on its way into the gateway"
        return Outcome(Decision.GO_ON, rollout, "Applying", message)
    pods = {**look.stable, **look.canary}
    baselines = tuple(baseline_of(pod, counters) for pod, counters in sorted(pods.items()))[:MAX_BASELINES]
    applied = rollout.model_copy(
        update={
            "applied_weight": rollout.desired_weight,
            "applied_at": look.now,
            "looked_at": look.now,
            "baselines": baselines,
        }
    )
    return Outcome(Decision.GO_ON, applied, "Holding", f"{rollout.desired_weight}% of the requests")


def _hold(rollout: RolloutStatus, spec: Rollout, full: int, look: Look) -> Outcome:
    analysis = spec.analysis
    if analysis is not None and look.now >= (rollout.looked_at or look.now) + analysis.interval:
        rollout = _look_at_checks(rollout, analysis, look)
        failed = next((check for check in rollout.checks if check.failures > analysis.failure_limit), None)
        if failed is not None:
            return Outcome(Decision.ROLL_BACK, rollout, "AnalysisFailed", f"{failed.name}: {failed.message}")
    step = spec.steps[rollout.step - 1]
    ends = (rollout.applied_at or look.now) + step.hold
    if look.now < ends:
        return Outcome(Decision.GO_ON, rollout, "Holding", f"until {ends:%H:%M:%S} UTC at least")
    if analysis is None:
        return _next_step(rollout, spec, full, look, "WaitingForPods")
    checks = {check.name: check for check in rollout.checks}
    missing = [c.name for c in analysis.checks if c.name not in checks or _lacks_data(checks[c.name])]
    if missing:
        message = "; ".join(checks[name].message if name in checks else f"{name} not looked at yet" for name in missing)
        if analysis.no_data is NoData.ROLLBACK and all(name in checks for name in missing):
            return Outcome(Decision.ROLL_BACK, rollout, "NoData", message)
        return Outcome(Decision.GO_ON, rollout, "MinRequests", f"holds for enough requests: {message}")
    failing = [check for check in rollout.checks if check.verdict is Verdict.FAIL]
    if failing:
        return Outcome(Decision.GO_ON, rollout, "CheckFailing", f"{failing[0].name}: {failing[0].message}")
    return _next_step(rollout, spec, full, look, "WaitingForPods")


def _look_at_checks(rollout: RolloutStatus, analysis: Analysis, look: Look) -> RolloutStatus:
    canary, stable = window(look.canary, rollout.baselines), window(look.stable, rollout.baselines)
    before = {check.name: check for check in rollout.checks}
    checks = tuple(judge(check, canary, stable, before.get(check.name)) for check in analysis.checks)
    return rollout.model_copy(update={"checks": checks, "looked_at": look.now})


def _lacks_data(check: CheckStatus) -> bool:
    return check.verdict in (Verdict.WAITING, Verdict.NO_DATA)


def _next_step(rollout: RolloutStatus, spec: Rollout, full: int, look: Look, waiting: str) -> Outcome:
    weight = _weight(spec, rollout.step + 1)
    needed = replicas_for(weight, full)
    if look.canary_ready < needed:
        deadline = rollout.ready_by or look.now + spec.progress_deadline
        rollout = rollout.model_copy(update={"ready_by": deadline})
        message = f"{look.canary_ready} of {needed} pods are ready for {weight}%"
        if look.now >= deadline:
            return Outcome(Decision.ROLL_BACK, rollout, "ProgressDeadlineExceeded", message)
        return Outcome(Decision.GO_ON, rollout, waiting, message)
    stepped = rollout.model_copy(
        update={
            "step": rollout.step + 1,
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


def _weight(spec: Rollout, step: int) -> int:
    return spec.steps[step - 1].weight if step <= len(spec.steps) else 100
