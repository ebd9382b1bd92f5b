"""Which processes belong to an instance: those that carry its name in their environment.

There are no files with process ids: they go stale, and a process that was started just before its starter died is in
none.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from headrace_local.errors import LocalClusterError

VARIABLE = "HEADRACE_LOCAL"

HOLDER = "holder"


@dataclass(frozen=True)
class Member:
    """A process of an instance."""

    pid: int
    component: str
    program: str
    is_init: bool
    """It is the first process of a PID namespace of its own: what ends it ends everything in the namespace."""


def environment(instance: str, component: str) -> dict[str, str]:
    """What a component's process gets into its environment so that it is found again."""
    return {VARIABLE: f"{instance}/{component}"}


def of(instance: str) -> list[Member]:
    """All living processes of the instance but its containers, which have environments of their own."""
    mark = f"{VARIABLE}={instance}/".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            variables = (entry / "environ").read_bytes().split(b"\0")
            component = next((value[len(mark) :].decode() for value in variables if value.startswith(mark)), None)
            if component is None:
                continue
            command = (entry / "cmdline").read_bytes().split(b"\0")[0].decode()
            status = (entry / "status").read_text()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        if fields["State"].startswith("Z"):
            continue
        namespace_ids = fields["NSpid"].split()
        found.append(
            Member(
                pid=int(entry.name),
                component=component,
                program=os.path.basename(command),
                is_init=len(namespace_ids) > 1 and namespace_ids[-1] == "1",
            )
        )
    return found


def kill_all(instance: str, *, timeout: float = 60.0) -> int:
    """End every process of the instance and wait until all are gone; returns how many there were."""
    deadline = time.monotonic() + timeout
    killed: set[int] = set()
    while members := of(instance):
        # The first processes of namespaces first: the kernel takes everything inside along, containers too.
        for member in sorted(members, key=lambda member: not member.is_init):
            try:
                os.kill(member.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            killed.add(member.pid)
        if time.monotonic() > deadline:
            left = ", ".join(f"{member.component} ({member.pid})" for member in members)
            raise LocalClusterError(
                f"these processes do not end: {left}; look at /proc/PID/stack for what they wait for"
            )
        time.sleep(0.05)
    return len(killed)
