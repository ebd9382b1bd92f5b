"""The cluster that end-to-end tests share: brought up once a session, taken away at its end.

HEADRACE_E2E_KEEP=1 keeps it for the next run, which then starts at once; `headrace local down --name e2e` ends it.
HEADRACE_E2E_NAME names another instance.
HEADRACE_E2E_INSTALL=1 lets apt-get install the programs that the machine lacks; in CI that is so without asking.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator

import pytest

from headrace_local import prerequisites
from headrace_local.instance import Instance
from headrace_local.progress import to_stderr
from platform_under_test import Platform, Tenant, install

CLUSTER = os.environ.get("HEADRACE_E2E_NAME", "e2e")


@pytest.fixture(scope="session", autouse=True)
def _prerequisites() -> None:
    install = os.environ.get("HEADRACE_E2E_INSTALL") == "1" or "CI" in os.environ
    prerequisites.require(install=install, report=to_stderr)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Instance]:
    """A running instance: `.kubeconfig`, `.kubectl(...)`, `.build(...)`, `.build_project([...])`, `.forward(...)`."""
    instance = Instance(CLUSTER)
    instance.up()
    yield instance
    if os.environ.get("HEADRACE_E2E_KEEP") != "1":
        instance.down()


@pytest.fixture(scope="session")
def platform(cluster: Instance) -> Platform:
    """The chart, installed as for a trial, from images built from this checkout."""
    return install(cluster)


@pytest.fixture(scope="session")
def tenant(platform: Platform) -> Tenant:
    """A tenant's namespace, shared by tests that keep apart by name."""
    return platform.tenant(f"team-{uuid.uuid4().hex[:6]}")
