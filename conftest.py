"""How tests are divided among the workers of pytest-xdist: what shares something expensive stays together. And what no
file of tests may leave behind for the next one in its worker.
"""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

import between_workers
import thorough

# How long an example takes says more of what else the machine does than of the code.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

# Of models and servers that take TensorFlow's import to make, in each worker anew; what imports it into the worker
# itself; and MLflow with its users, on SQLite and on Postgres.
WITH_KERAS = "tests that import Keras"
PLATFORM = "tests/integration/platform/"
TOGETHER = {
    "runtimes/trainer/tests/evaluation/": "runtimes/trainer/tests/evaluation/",
    "runtimes/tensorflow-serving/tests/": "runtimes/tensorflow-serving/tests/",
    "runtimes/trainer/tests/adapters/in_process/": WITH_KERAS,
    "tests/mathematics/": WITH_KERAS,
    PLATFORM: PLATFORM,
}
# Of one cluster, which two workers share: they wait more than they compute.
END_TO_END = "tests/e2e/"

# By how much the others give way to them: what they try (probes, canaries, clients) has deadlines of its own.
NICE = 5

# How long a thread has to see that its work is over.
THREAD_SECONDS = 10.0


class _BySharedFixtures(LoadScopeScheduling):  # type: ignore[misc]
    """The folders that are together go to one worker, of the others each file goes by itself."""

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith(END_TO_END):
            stem = PurePath(nodeid.partition("::")[0]).stem
            return f"{END_TO_END} second" if stem in (*between_workers.SECOND, *between_workers.ALONE) else END_TO_END
        groups = (group for folder, group in TOGETHER.items() if nodeid.startswith(folder))
        return next(groups, nodeid.partition("::")[0])


def pytest_configure(config: pytest.Config) -> None:
    # Files come as the command line has them, what takes longest first, and not by their number of tests.
    config.option.loadscopereorder = False
    config.addinivalue_line("markers", f"{thorough.MARKER}: one more of its kind, for `scripts/test thorough`")


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Takes the place of the schedulers that --dist names."""
    return _BySharedFixtures(config, log)


def pytest_collection() -> None:
    # A worker imports all tests, with TensorFlow and MLflow: a million objects for the collector to go through.
    gc.disable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    thorough.leave_out(config, items)
    # What one worker has for long is begun early, behind the cluster's tests, and not when all others have ended.
    items.sort(key=lambda item: (not item.nodeid.startswith(END_TO_END), not item.nodeid.startswith(PLATFORM)))


def pytest_collection_finish() -> None:
    gc.enable()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """A worker that has end-to-end tests has them first; nobody's priority rises again."""
    is_worker = "PYTEST_XDIST_WORKER" in os.environ
    if is_worker and not item.nodeid.startswith(END_TO_END) and os.nice(0) == 0:
        os.nice(NICE)


@pytest.fixture(scope="module", autouse=True)
def _no_thread_of_ours_goes_on() -> Iterator[None]:
    """A thread that outlives its tests works beside those of the next file, which fail for what it does."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        if _is_ours(thread):
            thread.join(THREAD_SECONDS)
            assert not thread.is_alive(), f"{thread.name} ({_work(thread)}) goes on after the tests of its file"


def _is_ours(thread: threading.Thread) -> bool:
    """Not of a library, whose pools keep their idle threads, nor of the trainer, whose last as long as its process."""
    return str(getattr(_work(thread), "__module__", "")).partition(".")[0] in ("headrace", "headrace_local")


def _work(thread: threading.Thread) -> object:
    """What it was made to run."""
    return getattr(thread, "_target", None) or type(thread)
