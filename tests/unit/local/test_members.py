"""Processes of an instance are found by their environment and ended, with everything in their namespace."""

from __future__ import annotations

import os
import subprocess
import time
import uuid
from collections.abc import Iterator

import pytest

from headrace_local import members


@pytest.fixture
def instance() -> Iterator[str]:
    name = f"unit-{uuid.uuid4().hex[:8]}"
    yield name
    members.kill_all(name, timeout=10)


def _start(instance: str, component: str, *command: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, **members.environment(instance, component)}
    process = subprocess.Popen(command, env=environment, start_new_session=True)
    while not any(member.component == component for member in members.of(instance)):
        time.sleep(0.01)
    return process


def test_a_process_is_found_by_instance_and_component(instance: str) -> None:
    process = _start(instance, "etcd", "sleep", "60")
    (member,) = members.of(instance)
    assert (member.pid, member.component, member.program) == (process.pid, "etcd", "sleep")
    assert members.of(instance + "-other") == []
    assert members.of(instance[:-1]) == []


def test_killing_ends_all_and_says_how_many(instance: str) -> None:
    processes = [_start(instance, name, "sleep", "60") for name in ("a", "b")]
    assert members.kill_all(instance, timeout=10) == 2
    assert [process.wait(timeout=10) for process in processes] == [-9, -9]
    assert members.of(instance) == []


def test_nothing_there_is_nothing_to_kill(instance: str) -> None:
    assert members.kill_all(instance, timeout=1) == 0
