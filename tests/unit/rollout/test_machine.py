"""The canary's state machine: single decisions, and what holds on every way that a rollout can go."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.api.modelservice import NoData, Rollout, Verdict
from headrace.rollout.counters import Counters
from headrace.rollout.machine import (
    APPLY_GRACE,
    Decision,
    Look,
    Problem,
    advance,
    begin,
    canary_replicas,
    replicas_for,
)

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
FULL = 4
GOOD, BAD = Counters(1000), Counters(1000, 500)


def spec(*weights, hold="30s", **analysis):
    checks = [{"name": "errors", "metric": "SuccessRate", "min": "0.99", "minRequests": 50}]
    return Rollout.model_validate(
        {
            "steps": [{"weight": weight, "hold": hold} for weight in weights],
            "analysis": {"interval": "10s", "failureLimit": 2, "checks": checks} | analysis,
        }
    )


class Walk:
    """One rollout, looked at again and again; each look adds `answered` to the counters of both sides."""

    def __init__(self, rollout_spec, full=FULL):
        self.spec, self.full, self.now = rollout_spec, full, NOW
        self.rollout = begin("id", rollout_spec, NOW)
        self.canary, self.stable = Counters(), Counters()
        self.outcome = None

    def look(self, seconds=1, ready=FULL, stable_ready=FULL, requests=100, errors=0, **seen):
        self.now += timedelta(seconds=seconds)
        self.canary = Counters(self.canary.requests + requests, self.canary.errors + errors)
        self.stable = Counters(self.stable.requests + requests, self.stable.errors)
        look = Look(self.now, stable_ready, ready, {"canary": self.canary}, {"stable": self.stable}, **seen)
        self.outcome = advance(self.rollout, self.spec, self.full, look)
        self.rollout = self.outcome.rollout
        return self.outcome

    def until(self, reason, **look):
        for _ in range(300):
            if self.look(**look).reason == reason:
                return self.outcome
        raise AssertionError(f"never {reason}: {self.outcome}")


# --- single decisions -------------------------------------------------------------------------------------------------


def test_a_good_canary_walks_its_steps_and_is_promoted():
    walk, weights = Walk(spec(10, 50)), []
    while walk.look().decision is Decision.GO_ON:
        if walk.rollout.desired_weight not in weights:
            weights.append(walk.rollout.desired_weight)

    assert walk.outcome.decision is Decision.PROMOTE
    assert weights == [10, 50, 100]
    assert walk.now - NOW >= timedelta(seconds=60) + 3 * APPLY_GRACE


def test_nothing_is_given_back_to_a_stable_revision_without_a_ready_pod_until_it_has_one():
    walk = Walk(spec(10, 50))
    walk.until("Holding")
    stranded = walk.until("StableUnavailable", errors=50, stable_ready=0)

    kept = [walk.look(errors=0, stable_ready=0) for _ in range(60)]
    back = walk.look(errors=0)

    assert {(outcome.reason, outcome.rollout.desired_weight) for outcome in kept} == {("StableUnavailable", 10)}
    assert "AnalysisFailed" in stranded.message
    assert (back.decision, back.reason) == (Decision.ROLL_BACK, "AnalysisFailed")


def test_without_steps_a_ready_canary_gets_everything_at_once():
    walk = Walk(Rollout())

    assert walk.look().rollout.desired_weight == 100


@pytest.mark.parametrize(("weight", "full", "pods"), [(1, 1, 1), (10, 4, 1), (26, 4, 2), (50, 4, 2), (100, 4, 4)])
def test_a_weight_needs_its_share_of_the_pods(weight, full, pods):
    assert replicas_for(weight, full) == pods


def test_the_pods_of_the_next_step_are_asked_for_before_its_weight():
    walk = Walk(spec(10, 50))
    walk.until("Holding")

    assert walk.rollout.desired_weight == 10
    assert canary_replicas(walk.rollout, walk.spec, FULL) == 2


def test_a_canary_that_never_gets_ready_is_given_up_at_the_progress_deadline():
    walk = Walk(spec(10, hold="0s"))

    assert walk.look(seconds=599, ready=0).decision is Decision.GO_ON
    assert walk.look(seconds=1, ready=0).reason == "ProgressDeadlineExceeded"


def test_missing_data_holds_for_as_long_as_it_takes():
    walk = Walk(spec(10))
    walk.until("MinRequests", requests=0)

    assert walk.look(seconds=7 * 24 * 3600, requests=0).decision is Decision.GO_ON
    assert walk.until("Applying", seconds=10, requests=100).rollout.desired_weight == 100


def test_missing_data_can_be_made_to_end_it_but_not_before_anybody_looked():
    """The second step's hold is over before its first look: the reset verdicts of the first step are no evidence."""
    walk = Walk(spec(10, 50, hold="5s", noData=NoData.ROLLBACK))
    while walk.rollout.applied_weight < 50:
        assert walk.look().decision is Decision.GO_ON

    assert walk.look(seconds=6, requests=0).message.endswith("waiting for the first evaluation of check errors")
    assert walk.look(seconds=5, requests=0).reason == "NoData"


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_the_look_after_failure_limit_failures_takes_it_back(limit):
    walk = Walk(spec(10, failureLimit=limit))
    walk.until("Holding")
    failed = 0
    while walk.outcome.decision is Decision.GO_ON:
        walk.look(seconds=10, errors=50)
        failed += 1

    assert (failed, walk.outcome.decision, walk.outcome.reason) == (limit + 1, Decision.ROLL_BACK, "AnalysisFailed")


def test_failures_add_up_over_the_steps():
    walk = Walk(spec(10, 50, failureLimit=1))
    walk.until("Holding")
    walk.look(seconds=10, requests=100, errors=2)
    while walk.rollout.applied_weight < 50:
        assert walk.look(seconds=5, requests=1000).decision is Decision.GO_ON

    assert walk.look(seconds=10, errors=50).reason == "AnalysisFailed"


def test_a_failing_check_holds_the_step_though_its_time_is_over():
    walk = Walk(spec(10, failureLimit=100))
    walk.until("Holding")
    walk.look(seconds=31, errors=50)

    assert (walk.outcome.reason, walk.rollout.desired_weight) == ("CheckFailing", 10)


@pytest.mark.parametrize("stage", ["Preparing", "Applying", "Holding"])
def test_a_problem_ends_it_at_once_at_any_stage(stage):
    walk = Walk(spec(10))
    walk.until(stage, ready=0 if stage == "Preparing" else FULL)

    outcome = walk.look(problem=Problem("OutOfMemory", "it ate everything", is_final=True))

    assert (outcome.decision, outcome.reason) == (Decision.ROLL_BACK, "OutOfMemory")


# --- a canary without a ready pod -------------------------------------------------------------------------------------


def holding(*weights, full=1, **analysis):
    """A rollout that holds its first weight."""
    walk = Walk(spec(*weights, **analysis), full)
    walk.until("Holding")
    return walk


def test_a_look_without_a_ready_pod_takes_the_weight_and_no_verdict():
    walk = holding(20)

    outcome = walk.look(ready=0)

    assert (outcome.decision, outcome.reason) == (Decision.GO_ON, "CanaryUnavailable")
    assert (walk.rollout.desired_weight, walk.rollout.applied_weight) == (0, 0)


def test_everything_goes_back_even_where_stable_has_no_ready_pod():
    assert holding(20).look(ready=0, stable_ready=0).rollout.desired_weight == 0


def test_when_a_pod_is_ready_again_the_step_has_its_weight_and_its_hold_anew():
    walk = holding(20, 50)
    walk.look(seconds=25)
    walk.look(ready=0, disrupted=True)
    walk.look(seconds=60, ready=0, replaced=True)

    back = walk.look()
    assert (back.rollout.desired_weight, back.rollout.applied_weight, back.rollout.step) == (20, 0, 1)

    walk.until("Holding")
    held = walk.now
    walk.until("Applying")
    assert walk.rollout.desired_weight == 50
    assert walk.now - held >= timedelta(seconds=30)


@pytest.mark.parametrize("how", ["disrupted", "replaced"])
def test_pods_that_were_taken_from_outside_are_waited_for_as_new_ones_are(how):
    walk = holding(20)
    walk.look(ready=0, **{how: True})

    assert walk.look(seconds=599, ready=0, **{how: True}).decision is Decision.GO_ON
    assert walk.look(seconds=1).rollout.desired_weight == 20
    assert walk.rollout.losses == 0


def test_a_disruption_that_lasts_uses_up_no_deadline():
    """A node that is lost keeps its pods for minutes before others are made."""
    walk = holding(20)
    for _ in range(40):
        assert walk.look(seconds=60, ready=0, disrupted=True).decision is Decision.GO_ON


def test_pods_that_are_taken_before_the_first_weight_use_up_no_deadline_either():
    walk = Walk(spec(20))
    for _ in range(40):
        assert walk.look(seconds=60, ready=0, disrupted=True).decision is Decision.GO_ON

    assert walk.look(seconds=299, ready=0).decision is Decision.GO_ON


def test_a_disruption_that_is_seen_late_is_one_all_the_same():
    """A node that shuts down ends the container first, and says so afterwards."""
    walk = holding(20)
    walk.look(ready=0)
    walk.look(seconds=10, ready=0, disrupted=True)

    assert walk.look(seconds=60, ready=0, replaced=True).decision is Decision.GO_ON


def test_a_canary_that_lost_its_endpoints_by_itself_is_turned_back_after_a_grace():
    walk = holding(20)
    walk.look(ready=0)

    assert walk.look(seconds=29, ready=0).decision is Decision.GO_ON
    assert (walk.look(ready=0).decision, walk.outcome.reason) == (Decision.ROLL_BACK, "EndpointsLost")


def test_the_reason_is_what_is_known_of_its_pods():
    walk = holding(20)
    problem = Problem("OutOfMemory", "it ate everything")
    walk.look(ready=0, problem=problem)
    walk.look(seconds=30, ready=0, problem=problem)

    assert (walk.outcome.decision, walk.outcome.reason) == (Decision.ROLL_BACK, "OutOfMemory")


def test_a_canary_that_loses_its_endpoints_again_and_again_is_turned_back_the_third_time():
    walk = holding(20)
    for _ in range(2):
        assert walk.look(ready=0).decision is Decision.GO_ON
        walk.until("Holding")

    assert (walk.look(ready=0).decision, walk.outcome.reason) == (Decision.ROLL_BACK, "EndpointsLost")


def test_half_of_the_pods_are_not_enough_to_come_back():
    walk = Walk(spec(50), full=4)
    walk.until("Holding")
    walk.look(ready=0, replaced=True)

    assert walk.look(ready=1).rollout.desired_weight == 0
    assert walk.look(ready=2).rollout.desired_weight == 50


def test_the_pods_that_were_asked_for_are_kept_meanwhile():
    walk = Walk(spec(10, 50))
    walk.until("Holding")
    walk.look(ready=0)

    assert canary_replicas(walk.rollout, walk.spec, FULL) == 2


def test_a_canary_with_all_requests_comes_back_to_all_of_them():
    walk = Walk(Rollout(), full=1)
    walk.until("Applying")
    walk.look(ready=0, disrupted=True)
    assert walk.rollout.desired_weight == 0

    assert walk.look().rollout.desired_weight == 100
    while walk.look().decision is Decision.GO_ON:
        pass
    assert walk.outcome.decision is Decision.PROMOTE


def test_what_failed_on_its_way_to_a_pod_that_is_taken_is_no_failure_of_the_canary():
    walk = Walk(spec(20, failureLimit=0))
    walk.until("Holding", gateway={"gateway-10.0.0.1": Counters()})

    walk.look(seconds=11, disrupted=True, gateway={"gateway-10.0.0.1": Counters(500, 100)})

    assert walk.outcome.decision is Decision.GO_ON


def test_where_the_gateway_counts_in_the_pods_place_it_is_counted_once_and_a_pod_that_is_taken_is_no_failure_either():
    walk = Walk(spec(20, failureLimit=0))
    walk.until("Holding", gateway={"canary": Counters()})
    names = [baseline.pod for baseline in walk.rollout.baselines]
    assert sorted(names) == ["canary", "stable"]
    seen = Counters(walk.canary.requests + 100, walk.canary.errors + 100)

    walk.look(seconds=11, errors=100, disrupted=True, gateway={"canary": seen})

    assert walk.outcome.decision is Decision.GO_ON


def test_what_the_platform_keeps_from_starting_is_not_turned_back_and_has_time_when_that_is_mended():
    walk = Walk(spec(10))
    quota = Problem("PodsRefused", "exceeded quota", is_platforms=True)
    for _ in range(100):
        outcome = walk.look(seconds=60, ready=0, problem=quota)
        assert (outcome.decision, outcome.reason) == (Decision.GO_ON, "PodsRefused")

    assert walk.look(seconds=200, ready=0).decision is Decision.GO_ON
    assert walk.look(seconds=600, ready=0).reason == "ProgressDeadlineExceeded"


# --- evidence counts once ---------------------------------------------------------------------------------------------


def test_a_look_without_new_requests_counts_no_failure_again():
    """One error of the first 60 requests, then silence."""
    walk = holding(20, failureLimit=2)
    walk.look(seconds=10, requests=60, errors=1)
    assert walk.rollout.checks[0].failures == 1

    for _ in range(10):
        walk.look(seconds=10, requests=0)

    assert (walk.outcome.decision, walk.outcome.reason) == (Decision.GO_ON, "CheckFailing")
    assert walk.rollout.checks[0].failures == 1
    walk.until("Applying", seconds=10, requests=100)


def test_requests_of_stable_alone_count_no_failure_again():
    walk = holding(20, failureLimit=1)
    walk.look(seconds=10, requests=60, errors=30)
    for _ in range(5):
        walk.stable = Counters(walk.stable.requests + 100)
        walk.look(seconds=10, requests=0)

    assert walk.outcome.decision is Decision.GO_ON


# --- routes and steps -------------------------------------------------------------------------------------------------


def test_a_weight_that_the_route_does_not_carry_is_not_counted_as_applied():
    """The operator was killed between status and route: the grace begins when the route is seen with the weight."""
    walk = Walk(spec(10))
    walk.until("Applying")

    assert walk.look(seconds=60, routed=False).rollout.applied_weight == 0
    assert walk.look(seconds=3).rollout.applied_weight == 0
    assert walk.look(seconds=1).rollout.applied_weight == 10


REFUSED = ("RouteRefused", "ResolvedRefs: no such Service")


@pytest.mark.parametrize("stage", ["Preparing", "Applying", "Holding"])
def test_a_route_that_the_gateway_does_not_carry_walks_no_steps_and_rejects_nothing(stage):
    walk = Walk(spec(10, 50))
    walk.until(stage, ready=0 if stage == "Preparing" else FULL)
    weight = walk.rollout.desired_weight

    for _ in range(50):
        outcome = walk.look(seconds=60, unprogrammed=REFUSED)

    assert (outcome.decision, outcome.reason, walk.rollout.desired_weight) == (Decision.GO_ON, "RouteRefused", weight)
    assert "ResolvedRefs: no such Service" in outcome.message
    assert walk.until("Applying", seconds=1).decision is Decision.GO_ON


def test_a_hold_begins_anew_when_the_route_is_carried_again():
    walk = Walk(spec(10))
    walk.until("Holding")
    walk.look(seconds=29, unprogrammed=REFUSED)
    again = walk.now
    walk.until("Applying")

    assert walk.now - again >= timedelta(seconds=30)


def test_a_bad_canary_is_turned_back_though_the_gateway_is_behind():
    walk = Walk(spec(10, failureLimit=0))
    walk.until("Holding")

    assert walk.look(seconds=10, errors=50, unprogrammed=REFUSED).reason == "AnalysisFailed"


def test_nothing_is_promoted_before_the_gateway_carries_it():
    walk = Walk(Rollout())
    while walk.rollout.applied_weight < 100:
        walk.look()

    assert walk.look(unprogrammed=REFUSED).decision is Decision.GO_ON
    assert walk.look().decision is Decision.PROMOTE


def test_a_slow_gateway_has_the_time_that_it_takes():
    walk = Walk(spec(10))
    walk.until("Applying")
    slow = {"apply_grace": timedelta(seconds=20)}
    walk.look(routed=False, **slow)

    assert walk.look(seconds=19, **slow).rollout.applied_weight == 0
    assert walk.look(seconds=1, **slow).rollout.applied_weight == 10


def test_steps_that_are_taken_out_meanwhile_promote_nothing_that_did_not_have_all_requests():
    walk = Walk(spec(10, 50))
    while walk.rollout.applied_weight < 50:
        walk.look()
    walk.spec = spec(20)

    outcome = walk.until("Applying")

    assert (outcome.decision, outcome.rollout.desired_weight) == (Decision.GO_ON, 100)


def test_steps_that_are_put_in_meanwhile_let_no_weight_fall():
    walk = Walk(spec(10, 50))
    while walk.rollout.applied_weight < 50:
        walk.look()
    walk.spec = spec(5, 10, 20, 60)

    assert walk.until("Applying").rollout.desired_weight == 60


def test_a_canary_with_all_requests_takes_over_only_when_all_of_its_pods_are_ready():
    walk = Walk(Rollout())
    while walk.rollout.applied_weight < 100:
        walk.look()

    assert walk.look(ready=FULL - 1).decision is Decision.GO_ON
    assert walk.look(ready=FULL).decision is Decision.PROMOTE


def test_a_pod_that_comes_in_mid_step_is_counted_from_where_it_was_first_seen():
    walk = Walk(spec(10, failureLimit=0))
    walk.until("Holding")
    old = Counters(10**6, 10**6)  # of an earlier step, when its metrics could not be read

    for seconds in (1, 20):
        walk.now += timedelta(seconds=seconds)
        seen = {"canary": Counters(10**5), "late": old}
        outcome = advance(walk.rollout, walk.spec, FULL, Look(walk.now, FULL, FULL, seen, {}))
        walk.rollout = outcome.rollout

    assert outcome.decision is Decision.GO_ON
    assert [check.verdict for check in outcome.rollout.checks] == [Verdict.PASS]


# --- what holds on every way ------------------------------------------------------------------------------------------

looks = st.lists(
    st.fixed_dictionaries(
        {
            "seconds": st.sampled_from([1, 2, 5, 11, 40]),
            "ready": st.sampled_from([0, 1, 2, FULL, FULL, FULL, FULL]),
            "requests": st.sampled_from([0, 10, 100, 1000, 1000]),
            "failing": st.sampled_from([False, False, False, False, True]),
            "routed": st.sampled_from([True, True, True, False]),
            "disrupted": st.booleans(),
            "problem": st.sampled_from([None] * 40 + [Problem("Crashed", "it crashed", is_final=True)]),
        }
    ),
    max_size=120,
)
step_weights = st.lists(st.integers(1, 99), max_size=4, unique=True).map(sorted)


@given(step_weights, looks, st.integers(0, 2), st.sampled_from(list(NoData)))
@settings(max_examples=150, deadline=None)
def test_whatever_is_seen_the_weight_only_rises_behind_ready_pods_and_passed_checks(weights, seen, limit, no_data):
    walk = Walk(spec(*weights, failureLimit=limit, noData=no_data, hold="10s"))
    passed: set[int] = set()
    failures = reached = 0
    for look in seen:
        before = walk.rollout
        failing = look.pop("failing")
        outcome = walk.look(errors=look["requests"] // 2 if failing else 0, **look)
        after = outcome.rollout

        if look["problem"] is not None:
            assert (outcome.decision, outcome.reason) == (Decision.ROLL_BACK, "Crashed")
        if outcome.decision is not Decision.GO_ON:
            break
        if after.interruption is not None:
            assert after.desired_weight == 0
            assert after.interruption.weight == reached
        else:
            assert after.desired_weight >= reached
            reached = after.desired_weight
        if after.desired_weight > 0:
            assert look["ready"] > 0
        if after.desired_weight > before.desired_weight:
            assert look["ready"] >= replicas_for(after.desired_weight, FULL)
            assert before.applied_weight == before.desired_weight
            if before.desired_weight:
                passed.add(before.desired_weight)
        else:
            failures = sum(check.failures for check in after.checks)
            assert failures <= limit

    if walk.outcome is not None and walk.outcome.decision is Decision.PROMOTE:
        assert walk.rollout.applied_weight == 100
        assert passed == set(weights)
    if walk.outcome is not None and walk.outcome.reason == "AnalysisFailed":
        assert walk.rollout.checks[0].failures == limit + 1


@given(step_weights, looks)
@settings(max_examples=100, deadline=None)
def test_no_step_ends_without_a_look_in_it_that_passed(weights, seen):
    """Each time the weight goes on from a step, the newest look of that very step said Pass."""
    walk = Walk(spec(*weights, failureLimit=100, hold="10s"))
    for look in seen:
        before = walk.rollout
        failing = look.pop("failing")
        if walk.look(errors=look["requests"] // 2 if failing else 0, **look).decision is not Decision.GO_ON:
            return
        window = walk.canary.requests - next((b.requests for b in before.baselines if b.pod == "canary"), 0)
        if walk.rollout.desired_weight > before.desired_weight > 0:
            assert window >= 50
            assert before.applied_at is not None
            assert walk.now >= before.applied_at + timedelta(seconds=10)


def test_errors_that_only_the_gateway_saw_turn_a_canary_back():
    walk = Walk(spec(20, failureLimit=0))
    walk.until("Holding", gateway={"gateway-10.0.0.1": Counters()})
    walk.look(seconds=11, gateway={"gateway-10.0.0.1": Counters(500, 100)})

    assert walk.outcome.decision is Decision.ROLL_BACK
    assert "failed at the gateway" in walk.outcome.message


def test_pods_that_nobody_could_make_while_the_operator_was_away_get_a_grace():
    walk = Walk(spec(20))
    walk.look(ready=0)
    walk.look(seconds=3600, ready=0, watched_since=walk.now + timedelta(seconds=3595))
    assert walk.outcome.reason == "Preparing"

    back = walk.now
    walk.look(seconds=30, ready=0, watched_since=back)
    assert walk.outcome.decision is Decision.GO_ON
    walk.look(seconds=120, ready=0, watched_since=back)

    assert (walk.outcome.decision, walk.outcome.reason) == (Decision.ROLL_BACK, "ProgressDeadlineExceeded")
