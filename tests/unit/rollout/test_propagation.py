"""What waits for a gateway that collects changes for a while before its data plane gets them."""

from datetime import timedelta

import pytest

from headrace.rollout.propagation import apply_grace, drain_seconds, settle_time


@pytest.mark.parametrize(
    ("throttle", "grace", "settle", "drain"), [(0.1, 4, 2, 8), (2, 4, 2, 8), (5, 10, 5, 14), (10, 20, 10, 24)]
)
def test_every_wait_is_well_above_the_throttle(throttle, grace, settle, drain):
    collects = timedelta(seconds=throttle)

    assert apply_grace(collects) == timedelta(seconds=grace)
    assert settle_time(collects) == timedelta(seconds=settle)
    assert drain_seconds(collects) == drain
