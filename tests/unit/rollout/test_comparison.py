"""A canary beside stable: what chance explains, what it does not, and that with enough requests one of both is known.

The simulations draw whole rollouts, look after look, and judge them with the code that judges a real one.
"""

import random
from dataclasses import dataclass
from decimal import Decimal
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.api.modelservice import Check, CheckMetric, Verdict
from headrace.rollout.analysis import Window, judge
from headrace.rollout.comparison import CHANCE, Difference, Share, chance_of, compare, excess

CHECK = Check(name="errors", metric=CheckMetric.SUCCESS_RATE, min=Decimal("0.99"), min_requests=20)
ROLLOUTS = 1000

shares = st.integers(0, 10**6).flatmap(lambda total: st.builds(Share, st.integers(0, total), st.just(total)))


# --- single comparisons -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("canary", "stable", "expected"),
    [
        (Share(0, 20), Share(0, 20), Difference.NONE),
        (Share(0, 20), Share(50, 100), Difference.NONE),
        (Share(9, 29), Share(0, 22), Difference.OPEN),
        (Share(20, 40), Share(0, 40), Difference.WORSE),
        (Share(20, 100), Share(180, 900), Difference.NONE),
        (Share(5, 20), Share(0, 0), Difference.OPEN),
        (Share(10, 10), Share(1000, 1000), Difference.NONE),
        (Share(1, 50), Share(2, 5000), Difference.OPEN),
    ],
)
def test_a_canary_is_worse_or_not_or_there_are_too_few_requests_to_know(canary, stable, expected):
    assert compare(canary, stable, 0.01) is expected


@given(st.integers(0, 12), st.integers(1, 12), st.integers(0, 12), st.integers(1, 12))
def test_the_chance_is_that_of_drawing_as_many_from_one_urn(count, total, others, stable_total):
    """By counting every draw, in whole numbers."""
    canary, stable = Share(min(count, total), total), Share(min(others, stable_total), stable_total)
    happened = canary.count + stable.count
    draws = [comb(total, k) * comb(stable_total, happened - k) for k in range(canary.count, min(happened, total) + 1)]
    exact = sum(draws) / comb(total + stable_total, happened)

    found = chance_of(canary, stable)

    assert found == (pytest.approx(exact) if canary.rate > stable.rate else 1.0)


@given(shares, shares)
def test_whatever_was_counted_the_chance_is_one_and_the_excess_is_never_more_than_there_was(canary, stable):
    assert 0 <= chance_of(canary, stable) <= 1
    assert 0 <= excess(canary, stable) <= canary.count


def test_a_canary_that_has_less_than_stable_has_no_excess():
    assert excess(Share(1, 101), Share(50, 150)) == 0


def test_chance_alone_condemns_a_canary_in_fewer_than_one_of_a_thousand_looks():
    """Both get the same garbage, 20 of 100 requests; who gets which is chance."""
    draw = random.Random(1)
    condemned = 0
    for _ in range(4000):
        canary, stable = (Share(sum(draw.random() < 0.2 for _ in range(n)), n) for n in (100, 300))
        condemned += compare(canary, stable, 0.01) is Difference.WORSE

    assert condemned <= 4000 * 2 * CHANCE


# --- whole rollouts ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class End:
    """How a simulated step ended, and the canary's requests in it."""

    passed: bool
    requests: int


@dataclass(frozen=True)
class Traffic:
    """`refused` and `stable_refused` are the probabilities of a refusal; `per_look` requests come between two looks."""

    refused: float
    stable_refused: float
    per_look: int = 20
    failure_limit: int = 2
    hold: int = 6  # looks


def step(draw: random.Random, weight: float, traffic: Traffic) -> End:
    """As the state machine does: it ends with a pass after its hold, or with one failure more than the limit."""
    canary = stable = refused = stable_refused = looks = failures = 0
    while True:
        for _ in range(traffic.per_look):
            if draw.random() < weight:
                canary, refused = canary + 1, refused + (draw.random() < traffic.refused)
            else:
                stable, stable_refused = stable + 1, stable_refused + (draw.random() < traffic.stable_refused)
        looks += 1
        judged = judge(
            CHECK, Window(canary - refused, 0, refused), Window(stable - stable_refused, 0, stable_refused), None
        )
        failures += judged.verdict is Verdict.FAIL
        if failures > traffic.failure_limit:
            return End(False, canary)
        if looks >= traffic.hold and judged.verdict is Verdict.PASS:
            return End(True, canary)
        assert looks < 2000, "it has to end"


def rollouts(traffic: Traffic, *weights: float) -> tuple[int, list[int]]:
    """How many of ROLLOUTS were turned back, and the canary's requests in each step that passed."""
    draw = random.Random(7)
    turned_back, requests = 0, []
    for _ in range(ROLLOUTS):
        for weight in weights:
            end = step(draw, weight, traffic)
            if not end.passed:
                turned_back += 1
                break
            requests.append(end.requests)
    return turned_back, sorted(requests)


@pytest.mark.parametrize("failure_limit", [0, 2])
def test_equal_models_are_turned_back_in_at_most_one_of_a_hundred_rollouts_and_pass_in_time(failure_limit):
    """Clients' mistakes are 5 % on both sides."""
    turned_back, requests = rollouts(Traffic(0.05, 0.05, failure_limit=failure_limit), 0.2, 0.5)

    assert turned_back <= ROLLOUTS / 100
    assert requests[len(requests) // 2] <= 100
    assert requests[len(requests) * 99 // 100] <= 300


@pytest.mark.parametrize(
    ("weight", "both"),
    [(0.2, 40), (0.2, 100), (0.2, 150), (0.2, 200), (0.3, 100), (0.5, 40), (0.5, 60), (0.5, 120), (0.5, 200)],
)
@pytest.mark.parametrize("garbage", [0.0, 0.05])
def test_a_canary_that_refuses_a_fifth_of_what_stable_accepts_does_not_pass(weight, both, garbage):
    """The verdict after so many requests of both together."""
    draw = random.Random(3)
    passed = 0
    for _ in range(ROLLOUTS):
        canary = sum(draw.random() < weight for _ in range(both))
        stable = both - canary
        refused = sum(draw.random() < 0.2 + 0.8 * garbage for _ in range(canary))
        others = sum(draw.random() < garbage for _ in range(stable))
        judged = judge(CHECK, Window(canary - refused, 0, refused), Window(stable - others, 0, others), None)
        passed += judged.verdict is Verdict.PASS

    assert passed <= ROLLOUTS * 2 / 100


@pytest.mark.parametrize(("weight", "garbage"), [(0.2, 0.0), (0.5, 0.0), (0.2, 0.05), (0.5, 0.05)])
def test_in_a_whole_step_too_it_is_turned_back(weight, garbage):
    turned_back, _ = rollouts(Traffic(0.2 + 0.8 * garbage, garbage), weight)

    assert turned_back >= ROLLOUTS * 98 / 100
