"""Which programs of an instance run: the programs themselves count, not what they have started."""

from __future__ import annotations

import os
import subprocess
import time
import uuid
from collections.abc import Iterator

import pytest

from headrace_local import components, members


@pytest.fixture
def instance() -> Iterator[str]:
    name = f"unit-{uuid.uuid4().hex[:8]}"
    yield name
    members.kill_all(name, timeout=10)


def _start(instance: str, component: str, program: str) -> None:
    """Run something under a program's name, marked as part of a component."""
    subprocess.Popen(
        ["bash", "-c", f"exec -a {program} sleep 60"],
        env={**os.environ, **members.environment(instance, component)},
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not any(member.program == program for member in members.of(instance)):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_shim_that_outlives_its_containerd_is_not_containerd(instance: str) -> None:
    _start(instance, "containerd", "containerd-shim-runc-v2")
    assert components.running(instance) == set()


def test_a_component_that_is_just_being_started_counts(instance: str) -> None:
    _start(instance, "kubelet", "nsenter")
    assert components.running(instance) == {"kubelet"}


def test_status_lists_all_components_and_then_the_forwarded_ports(instance: str) -> None:
    _start(instance, "etcd", "etcd")
    _start(instance, "forward:10.96.0.1:443@20001", "forward")

    status = components.status(instance)

    assert [entry.component for entry in status] == [*components.NAMES, "forward:10.96.0.1:443@20001"]
    running = {entry.component for entry in status if entry.pid is not None}
    assert running == {"etcd", "forward:10.96.0.1:443@20001"}
