"""Shapley values against what they are by definition."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from headrace_explain.explain import explain
from headrace_explain.kind import Method, NotExplainable


def linear(weights, bias=0.5):
    return lambda feed: {"y": feed["x"] @ weights + bias}


def by_definition(function, row, background):
    """Of each value what it adds, weighed over all sets of the others: 2^n of them."""
    n = len(row)

    def worth(members):
        mixed = background.copy()
        mixed[:, list(members)] = row[list(members)]
        return function(mixed).mean()

    found = np.zeros(n)
    for one in range(n):
        others = [place for place in range(n) if place != one]
        for size in range(n):
            weight = math.factorial(size) * math.factorial(n - size - 1) / math.factorial(n)
            for members in itertools.combinations(others, size):
                found[one] += weight * (worth([*members, one]) - worth(members))
    return found


@settings(max_examples=40, deadline=None)
@given(some.integers(1, 9), some.integers(1, 12), some.integers(1, 3), some.integers(0, 2**31), some.integers(20, 400))
def test_of_a_linear_model_each_value_is_its_weight_times_its_distance_from_the_mean(
    features, background, rows, seed, budget
):
    random = np.random.default_rng(seed)
    weights, asked, others = (random.normal(size=size) for size in (features, (rows, features), (background, features)))

    found = explain(
        linear(weights), {"x": asked}, {"x": others}, method=Method.SHAPLEY, budget=budget, seed=seed % 1000
    )

    assert found.background <= background
    if found.background == background:
        np.testing.assert_allclose(found.attributions["x"], weights * (asked - others.mean(axis=0)), atol=1e-9)
        np.testing.assert_allclose(found.base, (others @ weights + 0.5).mean(), atol=1e-9)
    np.testing.assert_allclose(found.gap, 0, atol=1e-9)
    assert found.evaluations <= rows * budget + rows + background


def test_of_any_model_they_come_near_to_the_definition_and_add_up():
    random = np.random.default_rng(5)
    first, second = random.normal(size=(5, 8)), random.normal(size=8)
    row, others = random.normal(size=5), random.normal(size=(6, 5))

    def function(x):
        return np.maximum(x @ first, 0) @ second + x[:, 0] * x[:, 1] * x[:, 2]

    found = explain(
        lambda feed: {"y": function(feed["x"])},
        {"x": row[None]},
        {"x": others},
        method=Method.SHAPLEY,
        budget=20_000,
    )

    wanted = by_definition(function, row, others)
    np.testing.assert_allclose(found.attributions["x"][0], wanted, atol=0.03 * np.abs(wanted).max())
    np.testing.assert_allclose(found.gap, 0, atol=1e-9)


def test_of_a_model_of_pairs_one_pair_of_walks_is_exact():
    row, zero = np.array([2.0, 3.0, 5.0]), np.zeros((1, 3))

    found = explain(
        lambda feed: {"y": feed["x"][:, 0] * feed["x"][:, 1] + feed["x"][:, 2]},
        {"x": row[None]},
        {"x": zero},
        method=Method.SHAPLEY,
        budget=4,
    )

    np.testing.assert_allclose(found.attributions["x"], [[3, 3, 5]])


def test_columns_of_several_inputs_and_kinds_are_explained_together():
    age = np.array([[40.0], [20.0]], np.float32)
    town = np.array([["north"], ["south"]], dtype=object)
    others = {"age": np.full((2, 1), 30, np.float32), "town": np.array([["south"], ["south"]], dtype=object)}

    def predict(feed):
        return {"y": feed["age"][:, 0] / 10 + 7 * (feed["town"][:, 0] == "north")}

    found = explain(predict, {"age": age, "town": town}, others, method=Method.AUTO)

    assert found.method is Method.SHAPLEY
    np.testing.assert_allclose(found.attributions["age"], [[1], [-1]], atol=1e-6)
    np.testing.assert_allclose(found.attributions["town"], [[7], [0]], atol=1e-6)


def test_the_same_seed_gives_the_same_numbers_for_a_row_whatever_is_asked_beside_it():
    random = np.random.default_rng(1)
    rows, others = random.normal(size=(3, 6)), random.normal(size=(9, 6))

    def of(chosen, seed):
        found = explain(
            lambda feed: {"y": np.sin(feed["x"]).prod(axis=1)},
            {"x": rows[chosen]},
            {"x": others},
            method=Method.SHAPLEY,
            budget=40,
            seed=seed,
        )
        return found.attributions["x"]

    together = of([0, 1, 2], 7)
    np.testing.assert_array_equal(together, of([0, 1, 2], 7))
    np.testing.assert_array_equal(together[2], of([2], 7)[0])
    assert not np.allclose(together, of([0, 1, 2], 8))


def test_a_budget_for_not_one_pair_of_walks_is_refused_with_what_it_takes():
    with pytest.raises(NotExplainable, match=r"of 100 values a row need a budget of 198 at least, and it is 197"):
        explain(
            linear(np.ones(100)),
            {"x": np.ones((1, 100))},
            {"x": np.zeros((1, 100))},
            method=Method.SHAPLEY,
            budget=197,
        )


def test_a_single_value_has_all_of_the_difference():
    found = explain(
        lambda feed: {"y": feed["x"] ** 2}, {"x": np.array([3.0])}, {"x": np.array([0.0, 2.0])}, method=Method.SHAPLEY
    )

    np.testing.assert_allclose(found.attributions["x"], [7])
