"""`steps` where nobody follows the script: a range."""

import pytest

import headrace_client


@pytest.mark.parametrize("given", [(3,), (2, 5), (5, 2), (0,), (-2, 1)])
def test_outside_of_a_pod_steps_are_a_range(given):
    steps = headrace_client.steps(*given)
    assert list(steps) == list(range(*given))
    assert len(steps) == len(range(*given))
    assert list(steps) == list(range(*given))  # once more, as a range


def test_a_number_of_steps_is_an_integer():
    with pytest.raises(TypeError):
        headrace_client.steps(1.5)
