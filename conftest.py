"""How tests are divided among the workers of pytest-xdist: what shares something expensive stays together."""

from __future__ import annotations

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

# The end-to-end tests take longest and mostly wait: two workers share their cluster (tests/e2e/sharing.py), each with
# about half of the time.
_SECOND_HALF = frozenset(
    f"tests/e2e/test_{name}.py"
    for name in ("failures", "local", "mlflow_ui", "own_image", "podtext", "resume", "tensorflow_serving")
)


class _BySharedFixtures(LoadScopeScheduling):  # type: ignore[misc]
    """Halves of the end-to-end tests; of the others each file has its own fixtures."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        if not file.startswith("tests/e2e/"):
            return file
        return "e2e, second half" if file in _SECOND_HALF else "e2e, first half"


def pytest_configure(config: pytest.Config) -> None:
    # Files come as the command line has them, not by their number of tests: what takes longest first.
    config.option.loadscopereorder = False


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Takes the place of the schedulers that --dist names."""
    return _BySharedFixtures(config, log)
