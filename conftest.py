"""How tests are divided among the workers of pytest-xdist: what shares something expensive stays together."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The end-to-end tests share one cluster; of the others each file is a group, its fixtures made once."""
    for item in items:
        where = item.path.relative_to(ROOT)
        group = "e2e" if where.parts[:2] == ("tests", "e2e") else str(where.with_suffix("")).replace("/", ".")
        item.add_marker(pytest.mark.xdist_group(group))
