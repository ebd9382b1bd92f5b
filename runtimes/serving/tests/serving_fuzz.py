"""Made-up bodies, and what may be answered to them by any server."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from serving_support import Reply


def examples(number: int) -> settings:
    return settings(
        max_examples=number,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
        derandomize=True,
    )


def nested(scalars: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Any JSON of these scalars."""
    return st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=12,
    )


def assert_answered(reply: Reply) -> None:
    assert 200 <= reply.status < 500, reply.body
    if reply.status != 200:
        assert set(reply.json) == {"error"}
