"""The cluster that end-to-end tests share: brought up by the first worker that needs it, taken away by the last.

HEADRACE_E2E_KEEP=1 keeps it for the next run, which then starts at once; `headrace local down --name e2e` ends it.
HEADRACE_E2E_NAME names another instance.
HEADRACE_E2E_INSTALL=1 lets apt-get install the programs that the machine lacks; in CI that is so without asking.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from between_workers import ALONE, Ended, Shared, run_folder
from headrace_local import prerequisites
from headrace_local.instance import Instance
from headrace_local.progress import to_stderr
from platform_under_test import Platform, Tenant, attach, install

CLUSTER = os.environ.get("HEADRACE_E2E_NAME", "e2e")
# What the tests of the other worker take on a slow machine.
OTHERS_SECONDS = 2400.0


def is_alone(item: pytest.Item) -> bool:
    return item.path.stem in ALONE


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is alone comes last of the end-to-end tests, which stay in the place that they have among all."""
    places = [place for place, item in enumerate(items) if item.path.parent == Path(__file__).parent]
    for place, item in zip(places, sorted((items[place] for place in places), key=is_alone), strict=True):
        items[place] = item


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """However a test ends, and where it was skipped before it began, the other worker learns of it."""
    try:
        return (yield)
    finally:
        Ended(run_folder(item.config)).tell(item.nodeid)


@pytest.fixture(scope="package")
def _folder(request: pytest.FixtureRequest) -> Path:
    return run_folder(request.config)


@pytest.fixture(scope="package", autouse=True)
def _prerequisites(_folder: Path) -> None:
    install = os.environ.get("HEADRACE_E2E_INSTALL") == "1" or "CI" in os.environ
    Shared(_folder, "prerequisites").once(lambda: prerequisites.require(install=install, report=to_stderr))


@pytest.fixture(scope="module", autouse=True)
def _others_have_ended(request: pytest.FixtureRequest, _folder: Path) -> None:
    """Before the other fixtures of a file that is alone."""
    if request.path.stem in ALONE:
        here = [item for item in request.session.items if item.path.parent == Path(__file__).parent]
        Ended(_folder).wait_for({item.nodeid for item in here if not is_alone(item)}, OTHERS_SECONDS)


@pytest.fixture(scope="package")
def cluster(_folder: Path) -> Iterator[Instance]:
    """A running instance: `.kubeconfig`, `.kubectl(...)`, `.build(...)`, `.build_project([...])`, `.forward(...)`."""
    instance = Instance(CLUSTER)

    def end() -> None:
        if os.environ.get("HEADRACE_E2E_KEEP") != "1":
            instance.down()
            Shared(_folder, "platform").forget()

    with Shared(_folder, "cluster").used(instance.up, end):
        yield instance


@pytest.fixture(scope="package")
def platform(cluster: Instance, _folder: Path) -> Platform:
    """The chart, installed as for a trial, from images built from this checkout."""
    Shared(_folder, "platform").once(lambda: install(cluster))
    return attach(cluster)


@pytest.fixture(scope="package")
def tenant(platform: Platform) -> Tenant:
    """A tenant's namespace, shared by tests that keep apart by name; each worker has its own."""
    return platform.tenant(f"team-{uuid.uuid4().hex[:6]}")
