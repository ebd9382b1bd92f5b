"""Cases that are of a kind of which another case is always run: `scripts/test thorough` runs them, too.

A test that repeats what it shows for every write, every order or every pair of two things has a case of each kind in
every run, and the others here.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Sequence
from typing import Any

import pytest

VARIABLE = "HEADRACE_THOROUGH"
MARKER = "thorough"
IS_WHOLE = os.environ.get(VARIABLE) == "1"


def thorough(*values: Any, id: str | None = None) -> Any:
    """A case as pytest.param makes it."""
    return pytest.param(*values, id=id, marks=getattr(pytest.mark, MARKER))


def first_of_each(kinds: Sequence[Hashable]) -> list[int]:
    """Which of those to try that are of these kinds, by their numbers: the first of each, and in the whole all."""
    return [number for number, kind in enumerate(kinds) if IS_WHOLE or kind not in kinds[:number]]


def leave_out(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of the tests that were found, those that only the whole has. A run without workers counts them as deselected."""
    if IS_WHOLE:
        return
    left_out = [item for item in items if item.get_closest_marker(MARKER)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker(MARKER)]
