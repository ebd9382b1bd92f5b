"""When an exported model counts as computing what Keras computes."""

import numpy as np
import pytest

from headrace_trainer.adapters.agreement import difference, tolerance_of

FLOAT32, FLOAT16, BFLOAT16 = (tolerance_of([name]) for name in ("float32", "float16", "bfloat16"))


def compared(expected, computed, tolerance=FLOAT32, dtype="float32"):
    return difference({"y": np.array(expected, dtype)}, {"y": np.array(computed, dtype)}, tolerance)


@pytest.mark.parametrize("scale", [1e-2, 1.0, 250_000.0, 1e12])
def test_rounding_is_relative_to_the_size_of_the_outputs(scale):
    expected = scale * np.array([0.5, 1.0, -2.0])
    assert compared(expected, expected * (1 + 1e-6)) is None
    assert compared(expected, expected * 1.01).startswith("y differs by")


def test_a_value_near_zero_among_large_ones_may_be_off_by_their_rounding():
    assert compared([200_000.0, 0.01], [200_000.0, 0.04]) is None
    assert compared([200_000.0, 0.01], [200_000.0, 90.0]) is not None


def test_a_wrong_value_is_not_hidden_by_the_size_of_the_others():
    expected = np.ones(1000)
    assert compared(expected, [*expected[:-1], 1.01]) is not None


@pytest.mark.parametrize(
    ("tolerance", "error", "agrees"),
    [
        (FLOAT32, 1e-3, False),
        (FLOAT16, 1e-3, True),
        (FLOAT16, 5e-2, False),
        (BFLOAT16, 2e-2, True),
        (BFLOAT16, 2e-1, False),
    ],
)
def test_the_tolerance_is_the_types(tolerance, error, agrees):
    assert (compared([1.0, 2.0], [1.0 + error, 2.0 + error], tolerance) is None) is agrees


def test_a_model_is_as_precise_as_its_least_precise_type():
    assert tolerance_of(["float32", "float16", "int64"]) == FLOAT16
    assert tolerance_of(["int64", "string"]) == FLOAT32


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_equals_itself_and_no_number(value):
    assert compared([1.0, value], [1.0, value]) is None
    assert compared([1.0, value], [1.0, 7.0]) == f"y is 7.0 where Keras computes {value}"
    assert compared([1.0, 7.0], [1.0, value]) == f"y is {value} where Keras computes 7.0"


def test_whole_numbers_and_texts_are_equal():
    assert compared([1, 2, 3], [1, 2, 3], dtype="int64") is None
    assert compared([1, 2, 3], [1, 2, 4], dtype="int64") == "y differs in 1 of 3 values"
    assert compared([b"a", b"b"], [b"a", b"c"], dtype=object) == "y differs in 1 of 2 values"


def test_of_many_low_precision_labels_a_few_may_fall_the_other_way():
    labels = np.zeros(1000, "int64")
    tipped = labels.copy()
    tipped[:5] = 1
    assert difference({"y": labels}, {"y": tipped}, FLOAT16) is None
    assert difference({"y": labels}, {"y": tipped}, FLOAT32) is not None


def test_another_shape_type_or_name_is_a_difference():
    assert difference({"y": np.ones(2, "float32")}, {"y": np.ones((2, 1), "float32")}, 1) is not None
    assert difference({"y": np.ones(2, "float32")}, {"y": np.ones(2, "float64")}, 1) is not None
    assert difference({"y": np.ones(2, "float32")}, {"z": np.ones(2, "float32")}, 1) is not None
