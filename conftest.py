"""How tests are divided among the workers of pytest-xdist: what shares something expensive stays together."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling


class _BySharedFixtures(LoadScopeScheduling):  # type: ignore[misc]
    """The end-to-end tests share one cluster and so one worker; of the others each file has its own fixtures."""

    def _split_scope(self, nodeid: str) -> str:
        return "e2e" if nodeid.startswith("tests/e2e/") else nodeid.partition("::")[0]


def pytest_configure(config: pytest.Config) -> None:
    # Files come as the command line has them, what takes longest first, and not by their number of tests.
    config.option.loadscopereorder = False


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Takes the place of the schedulers that --dist names."""
    return _BySharedFixtures(config, log)


def pytest_collection() -> None:
    # A worker imports all tests, with TensorFlow and MLflow: a million objects for the collector to go through.
    gc.disable()


def pytest_collection_finish() -> None:
    gc.enable()
    gc.freeze()
