"""What holds of every method: which number is explained, the bounds, and what is refused."""

import tracemalloc

import numpy as np
import pytest

from headrace_explain.choose import choose
from headrace_explain.explain import explain
from headrace_explain.kind import Method, NotExplainable, OutOfTime

ONE = np.ones((1, 3), np.float32)
FLOAT, WHOLE, TEXT = np.dtype(np.float32), np.dtype(np.int64), np.dtype(object)


class Clock:
    """Goes on by a second at each look."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 1
        return self.now


def both(feed):
    """As a classifier of scikit-learn's."""
    share = feed["x"].mean(axis=1)
    return {"label": (share > 0).astype(np.int64), "probabilities": np.stack([1 - share, share], axis=1)}


@pytest.mark.parametrize(
    ("shapes", "dtypes", "differentiable", "wanted"),
    [
        ({"x": (10,)}, {"x": FLOAT}, True, Method.SHAPLEY),
        ({"a": (), "b": (1,)}, {"a": WHOLE, "b": TEXT}, False, Method.SHAPLEY),
        ({"x": (784,)}, {"x": FLOAT}, True, Method.INTEGRATED_GRADIENTS),
        ({"x": (784,)}, {"x": FLOAT}, False, Method.OCCLUSION),
        ({"x": (8, 8, 1)}, {"x": FLOAT}, True, Method.INTEGRATED_GRADIENTS),
        ({"x": (8, 8, 1)}, {"x": np.dtype(np.uint8)}, True, Method.OCCLUSION),
        ({"x": (12,)}, {"x": WHOLE}, True, Method.OCCLUSION),
        ({"x": (12,), "mask": (12,)}, {"x": WHOLE, "mask": FLOAT}, True, Method.OCCLUSION),
    ],
)
def test_the_method_that_fits_the_inputs(shapes, dtypes, differentiable, wanted):
    assert choose(shapes, dtypes, differentiable=differentiable) is wanted


@pytest.mark.parametrize(
    ("shapes", "dtypes"),
    [({}, {}), ({"x": (1,)}, {"x": TEXT}), ({"x": (1,), "y": (8, 8)}, {"x": TEXT, "y": FLOAT})],
)
def test_texts_and_nothing_have_none(shapes, dtypes):
    with pytest.raises(NotExplainable):
        choose(shapes, dtypes, differentiable=True)


def test_the_first_output_with_broken_numbers_and_the_class_that_the_model_is_surest_of():
    found = explain(both, {"x": ONE * 0.9}, {"x": ONE * 0}, method=Method.SHAPLEY)

    assert (found.output, found.target.tolist()) == ("probabilities", [1])
    np.testing.assert_allclose([*found.prediction, *found.base], [0.9, 0], atol=1e-6)


@pytest.mark.parametrize("method", [Method.SHAPLEY, Method.OCCLUSION])
def test_the_model_gets_the_type_of_the_rows_whatever_the_background_s_is(method):
    seen = set()

    def predict(feed):
        seen.add(feed["x"].dtype)
        return both(feed)

    explain(predict, {"x": ONE}, {"x": np.zeros((2, 3), np.float64)}, method=method)

    assert seen == {FLOAT}


def test_the_output_and_target_that_are_named():
    found = explain(both, {"x": ONE}, {"x": ONE * 0}, method=Method.OCCLUSION, output="probabilities", target=0)

    np.testing.assert_allclose(found.attributions["x"], -ONE / 3, atol=1e-6)


@pytest.mark.parametrize("method", [Method.SHAPLEY, Method.OCCLUSION])
def test_when_the_time_is_over_the_rows_that_are_done_are_whole(method):
    rows = np.arange(12, dtype=np.float32).reshape(4, 3)

    found = explain(both, {"x": rows}, {"x": ONE * 0}, method=method, deadline=5.5, clock=Clock())

    assert not found.complete
    assert 0 < found.rows < 4
    assert len(found.attributions["x"]) == found.rows == len(found.base) == len(found.target)
    np.testing.assert_allclose(
        found.attributions["x"],
        explain(both, {"x": rows}, {"x": ONE * 0}, method=method).attributions["x"][: found.rows],
    )
    with pytest.raises(OutOfTime, match="not one row was explained within 2 s"):
        explain(both, {"x": rows}, {"x": ONE * 0}, method=method, deadline=2, clock=Clock())


def test_a_large_row_goes_in_batches_that_memory_has_room_for():
    largest = []

    def predict(feed):
        largest.append(len(feed["x"]))
        return {"y": feed["x"].reshape(len(feed["x"]), -1)[:, :2]}

    rows = np.ones((1, 1024, 1024, 2), np.float32)
    explain(predict, {"x": rows}, {"x": rows * 0}, method=Method.OCCLUSION, budget=30)

    assert max(largest) == 4
    assert sum(largest) <= 32


def test_the_rows_of_many_values_are_made_as_they_are_asked_about():
    """4,000 values a row take 8,000 rows: all at once they would be 512 MB."""
    rows = np.ones((1, 4000), np.float64)
    tracemalloc.start()

    found = explain(
        lambda feed: {"y": feed["x"].sum(axis=1)}, {"x": rows}, {"x": rows * 0}, method=Method.SHAPLEY, budget=8000
    )

    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_allclose(found.attributions["x"], 1)
    assert most < 64 << 20


@pytest.mark.parametrize(
    ("predict", "rows", "background", "more", "reason"),
    [
        (both, {}, {}, {}, "no input to explain"),
        (both, {"x": ONE}, {"z": ONE}, {}, "the rows have the inputs x, and the background z"),
        (both, {"x": ONE[:0]}, {"x": ONE}, {}, "the rows: there is no row"),
        (both, {"x": ONE}, {"x": ONE[:0]}, {}, "the background: there is no row"),
        (
            both,
            {"x": ONE},
            {"x": ONE[:, :2]},
            {},
            r"the input x has the shape \[3\] a row, and \[2\] in the background",
        ),
        (both, {"x": ONE, "y": np.ones(2)}, {"x": ONE, "y": np.ones(1)}, {}, "the rows: the inputs have not as many"),
        (both, {"x": ONE}, {"x": ONE}, {"output": "z"}, "no output 'z'; its outputs are label, probabilities"),
        (both, {"x": ONE}, {"x": ONE}, {"target": 2}, "the target is 2, and the output probabilities has 2 numbers"),
        (both, {"x": ONE}, {"x": ONE}, {"target": -1}, "the target is -1"),
        (both, {"x": ONE}, {"x": ONE}, {"budget": 0}, "the budget is 0"),
        (both, {"x": ONE.astype(str)}, {"x": ONE.astype(str)}, {}, "the input x takes texts"),
        (lambda feed: {"y": np.ones((1, 4, 5))}, {"x": ONE}, {"x": ONE}, {}, r"has the shape \[4, 5\] a row"),
        (lambda feed: {"y": np.ones((7, 2))}, {"x": ONE}, {"x": ONE}, {}, "has no row for each row"),
        (lambda feed: {"y": np.full((1, 2), np.nan)}, {"x": ONE}, {"x": ONE}, {}, "is not finite"),
        (lambda feed: {"y": np.array(["a"])}, {"x": ONE}, {"x": ONE}, {}, "the output y has texts"),
        (lambda feed: {}, {"x": ONE}, {"x": ONE}, {}, "the model has no output"),
    ],
)
def test_what_cannot_be_explained_is_told_with_the_reason(predict, rows, background, more, reason):
    with pytest.raises(NotExplainable, match=reason):
        explain(predict, rows, background, **({"method": Method.SHAPLEY} | more))
