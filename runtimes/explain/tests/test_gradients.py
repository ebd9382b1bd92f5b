"""Integrated gradients: complete, and exact where the model is linear."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from headrace_explain.explain import explain
from headrace_explain.kind import Method, NotExplainable


def net(seed, features, hidden=7, classes=3):
    """A small net of tanh, and its gradient."""
    random = np.random.default_rng(seed)
    first, second = random.normal(size=(features, hidden)), random.normal(size=(hidden, classes))

    def predict(feed):
        return {"y": np.tanh(feed["x"] @ first) @ second}

    def gradient(feed, output, target):
        inner = 1 - np.tanh(feed["x"] @ first) ** 2
        return {"x": (inner * second[:, target].T) @ first.T}

    return predict, gradient


@settings(max_examples=25, deadline=None)
@given(some.integers(0, 2**31), some.integers(1, 10))
def test_the_attributions_of_a_small_net_add_up_to_what_it_says(seed, features):
    predict, gradient = net(seed, features)
    random = np.random.default_rng(seed + 1)
    rows, others = random.normal(size=(3, features)), random.normal(size=(5, features))

    found = explain(
        predict, {"x": rows}, {"x": others}, method=Method.INTEGRATED_GRADIENTS, gradient=gradient, budget=129
    )

    np.testing.assert_array_equal(found.target, predict({"x": rows})["y"].argmax(axis=1))
    total = found.attributions["x"].sum(axis=1)
    np.testing.assert_allclose(total, found.prediction - found.base, atol=1e-4)
    np.testing.assert_allclose(found.gap, 0, atol=1e-4)


def test_a_gradient_is_asked_for_few_rows_at_once():
    """What a large model computes on the way to it would not fit beside the model."""
    predict, gradient = net(0, 4)
    asked = []

    def counted(feed, output, target):
        asked.append(len(feed["x"]))
        return gradient(feed, output, target)

    rows = np.ones((1, 4))
    explain(predict, {"x": rows}, {"x": 0 * rows}, method=Method.INTEGRATED_GRADIENTS, gradient=counted, budget=129)
    assert (max(asked), sum(asked)) == (16, 128)


def test_of_a_linear_model_they_are_the_shapley_values():
    weights = np.array([1.0, -2.0, 0.5])
    rows, others = np.array([[3.0, 1.0, 4.0]]), np.array([[1.0, 1.0, 2.0], [0.0, 3.0, 2.0]])

    def of(method):
        return explain(
            lambda feed: {"y": feed["x"] @ weights},
            {"x": rows},
            {"x": others},
            method=method,
            gradient=lambda feed, output, target: {"x": np.tile(weights, (len(feed["x"]), 1))},
        ).attributions["x"]

    np.testing.assert_allclose(of(Method.INTEGRATED_GRADIENTS), of(Method.SHAPLEY), atol=1e-9)


def test_a_net_with_kinks_says_by_its_gap_how_far_it_is_from_complete():
    found = explain(
        lambda feed: {"y": np.maximum(feed["x"] - 0.37, 0).sum(axis=1)},
        {"x": np.ones((1, 2))},
        {"x": np.zeros((1, 2))},
        method=Method.INTEGRATED_GRADIENTS,
        gradient=lambda feed, output, target: {"x": (feed["x"] > 0.37).astype(float)},
        budget=20,
    )

    assert 0 < abs(found.gap[0]) < 0.1
    np.testing.assert_allclose(found.gap, found.prediction - found.base - found.attributions["x"].sum(axis=1))


@pytest.mark.parametrize(
    ("rows", "gradient", "budget", "reason"),
    [
        (np.ones((1, 3)), None, 512, "the model has no gradients"),
        (np.ones((1, 3), np.int64), lambda *_: {}, 512, "the input x does not take broken numbers"),
        (np.ones((1, 3)), lambda *_: {}, 8, "a budget of 9 at least, and it is 8"),
        (np.ones((1, 3)), lambda feed, *_: {"x": feed["x"] * np.nan}, 9, "the gradient by the input x is not finite"),
    ],
)
def test_what_has_none_is_refused_with_the_reason(rows, gradient, budget, reason):
    with pytest.raises(NotExplainable, match=reason):
        explain(
            lambda feed: {"y": feed["x"].sum(axis=1)},
            {"x": rows},
            {"x": rows},
            method=Method.INTEGRATED_GRADIENTS,
            gradient=gradient,
            budget=budget,
        )
