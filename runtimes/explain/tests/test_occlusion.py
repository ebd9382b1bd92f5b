"""Occlusion finds what the answer hangs on."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from headrace_explain.explain import explain
from headrace_explain.kind import Method, NotExplainable


@settings(max_examples=25, deadline=None)
@given(some.integers(0, 22), some.integers(0, 22), some.sampled_from([1, 3]), some.sampled_from([30, 100, 512]))
def test_a_planted_patch_of_a_picture_is_found(top, left, channels, budget):
    picture = np.random.default_rng(top * 31 + left).uniform(size=(1, 28, 28, channels)).astype(np.float32)
    patch = (slice(None), slice(top, top + 6), slice(left, left + 6))
    picture[patch] = 5

    found = explain(
        lambda feed: {"y": feed["x"][patch].reshape(len(feed["x"]), -1).mean(axis=1)},
        {"x": picture},
        {"x": np.zeros((2, 28, 28, channels), np.float32)},
        method=Method.OCCLUSION,
        budget=budget,
    )

    heat = found.attributions["x"]
    assert heat.shape == picture.shape
    row, column = np.unravel_index(heat[0, ..., 0].argmax(), (28, 28))
    assert top - 5 <= row < top + 11
    assert left - 5 <= column < left + 11
    assert heat[patch].mean() > 3 * heat.mean()
    assert found.gap is None
    assert found.evaluations <= budget + 1


def test_channels_first_and_whole_numbers():
    picture = np.full((1, 3, 14, 14), 10, np.uint8)
    picture[0, :, 4:6, 8:10] = 200

    found = explain(
        lambda feed: {"y": feed["x"][:, :, 4:6, 8:10].astype(np.float32).mean(axis=(1, 2, 3))},
        {"x": picture},
        {"x": np.full((3, 3, 14, 14), 10, np.uint8)},
        method=Method.AUTO,
    )

    assert found.method is Method.OCCLUSION
    heat = found.attributions["x"]
    np.testing.assert_allclose(heat[0, 0], heat[0, 1])
    assert np.unravel_index(heat[0, 0].argmax(), (14, 14)) in {(4, 8), (4, 9), (5, 8), (5, 9)}


def test_the_token_that_matters_is_found_and_padding_adds_nothing():
    tokens = np.array([[4, 9, 7, 0, 0]], np.int32)

    def predict(feed):
        has = (feed["words"] == 9).any(axis=1).astype(np.float32)
        return {"y": np.stack([1 - has, has], axis=1)}

    found = explain(predict, {"words": tokens}, {"words": tokens}, method=Method.AUTO)

    assert found.method is Method.OCCLUSION
    assert found.target.tolist() == [1]
    np.testing.assert_allclose(found.attributions["words"], [[0, 1, 0, 0, 0]])


def test_a_long_sequence_is_cut_into_as_many_windows_as_the_budget_has():
    signal = np.zeros((2, 1000), np.float32)
    signal[:, 400:420] = 1

    found = explain(
        lambda feed: {"y": feed["x"][:, 400:420].sum(axis=1)},
        {"x": signal},
        {"x": np.zeros((1, 1000), np.float32)},
        method=Method.OCCLUSION,
        budget=21,
    )

    assert found.evaluations <= 2 * 21 + 3
    assert 350 <= found.attributions["x"][0].argmax() < 470


def test_two_inputs_share_the_budget():
    rows = {"picture": np.ones((1, 20, 20), np.float32), "age": np.full((1, 1), 3, np.float32)}
    others = {name: np.zeros_like(values) for name, values in rows.items()}

    found = explain(
        lambda feed: {"y": feed["age"][:, 0] + feed["picture"].mean(axis=(1, 2))},
        rows,
        others,
        method=Method.OCCLUSION,
        budget=40,
    )

    np.testing.assert_allclose(found.attributions["age"], [[3]])
    assert (found.attributions["picture"] > 0).all()
    assert found.evaluations <= 41
    with pytest.raises(NotExplainable, match="a budget of 3 at least, and it is 2"):
        explain(lambda feed: {"y": feed["age"]}, rows, others, method=Method.OCCLUSION, budget=2)


def test_an_input_of_one_value_a_row():
    found = explain(
        lambda feed: {"y": feed["age"] * 2},
        {"age": np.array([3.0, 4.0])},
        {"age": np.array([1.0])},
        method=Method.OCCLUSION,
    )

    np.testing.assert_allclose(found.attributions["age"], [4, 6])
