"""The cluster that end-to-end tests share: brought up once a session, taken away at its end.

HEADRACE_E2E_KEEP=1 keeps it for the next run, which then starts at once; `headrace local down --name e2e` ends it.
HEADRACE_E2E_INSTALL=1 lets apt-get install the programs that the machine lacks; in CI that is so without asking.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from headrace_local import prerequisites
from headrace_local.instance import Instance
from headrace_local.progress import to_stderr

CLUSTER = "e2e"


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
