"""The cluster that end-to-end tests share, in all workers: the first brings it up, the last takes it away.

A test that disturbs what all use (a server of the platform, the operator, the node) is marked `disturbs` and runs while
no other one does.

HEADRACE_E2E_KEEP=1 keeps it for the next run, which then starts at once; `headrace local down --name e2e` ends it.
HEADRACE_E2E_NAME names another instance.
HEADRACE_E2E_INSTALL=1 lets apt-get install the programs that the machine lacks; in CI that is so without asking.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Generator, Iterator

import pytest

from headrace_local import prerequisites
from headrace_local.instance import Instance
from headrace_local.progress import to_stderr
from platform_under_test import Platform, Tenant, connect, install
from sharing import Sharing

CLUSTER = os.environ.get("HEADRACE_E2E_NAME", "e2e")
SHARING = Sharing(CLUSTER)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Function) -> Generator[None, object, object]:
    if "cluster" not in item.fixturenames:
        return (yield)
    with SHARING.in_turn("cluster", alone=item.get_closest_marker("disturbs") is not None):
        return (yield)


@pytest.fixture(scope="session", autouse=True)
def _prerequisites() -> None:
    install = os.environ.get("HEADRACE_E2E_INSTALL") == "1" or "CI" in os.environ
    with SHARING.alone("prerequisites"):
        prerequisites.require(install=install, report=to_stderr)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Instance]:
    """A running instance: `.kubeconfig`, `.kubectl(...)`, `.build(...)`, `.build_project([...])`, `.forward(...)`."""
    instance = Instance(CLUSTER)
    with SHARING.together("users"):
        instance.up()
        yield instance
    with SHARING.leave_last("users") as is_last:
        if is_last and os.environ.get("HEADRACE_E2E_KEEP") != "1":
            instance.down()


@pytest.fixture(scope="session")
def platform(cluster: Instance, testrun_uid: str) -> Platform:
    """The chart, installed as for a trial, from images built from this checkout."""
    with SHARING.alone("install"):
        if SHARING.is_first("install", testrun_uid):
            install(cluster)
    return connect(cluster)


@pytest.fixture(scope="session")
def tenant(platform: Platform) -> Tenant:
    """A tenant's namespace, shared by tests that keep apart by name."""
    return platform.tenant(f"team-{uuid.uuid4().hex[:6]}")
