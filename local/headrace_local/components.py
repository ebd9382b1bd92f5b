"""The programs of an instance: which there are, which of them run, starting them and waiting for them."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from headrace_local import apiserver, members
from headrace_local.errors import LocalClusterError
from headrace_local.namespaces import Namespaces
from headrace_local.paths import InstancePaths

NAMES = (
    "containerd",
    "buildkitd",
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "volumes",
)
FORWARDER = "forward"
READY_TIMEOUT = 120.0
APPEARS_WITHIN = 5.0

_PROGRAMS = frozenset({*NAMES, FORWARDER})


@dataclass(frozen=True)
class ComponentStatus:
    """One program of an instance, or a forwarded port."""

    component: str
    pid: int | None
    memory_mib: int | None


def running(instance: str) -> set[str]:
    """The components that run: what starts them waits for them, what they have started themselves is not them."""
    return {member.component for member in members.of(instance) if member.program in {*_PROGRAMS, "nsenter"}}


def status(instance: str) -> list[ComponentStatus]:
    """All components, running or not, and the forwarded ports."""
    found = {member.component: member.pid for member in members.of(instance) if member.program in _PROGRAMS}
    forwarded = sorted(component for component in found if component not in NAMES)
    return [
        ComponentStatus(component, found.get(component), _memory_mib(found.get(component)))
        for component in (*NAMES, *forwarded)
    ]


class Components:
    """Starts the programs of one instance, and waits for them."""

    def __init__(self, paths: InstancePaths, namespaces: Namespaces) -> None:
        self._paths = paths
        self._namespaces = namespaces

    def start(self, component: str, command: Sequence[str]) -> None:
        """Start it unless it runs."""
        if component not in running(self._paths.name):
            self._namespaces.start(component, command, log_name=component)

    def wait_until_it_listens(self, component: str, path: Path) -> None:
        self.wait(component, lambda: listens(path))

    def wait(self, component: str, is_ready: Callable[[], bool]) -> None:
        """Wait until the component is ready, as long as it runs."""
        started = time.monotonic()
        deadline = started + READY_TIMEOUT
        while not is_ready():
            # A process is known by its environment, which it has only some moments after it was made.
            if component not in running(self._paths.name) and time.monotonic() > started + APPEARS_WITHIN:
                raise self._failure(component, "ended while it started")
            if time.monotonic() > deadline:
                raise self._failure(component, f"was not ready after {READY_TIMEOUT:.0f} s")
            time.sleep(0.05)

    def require_all(self) -> None:
        """Raise for a component that does not run."""
        present = running(self._paths.name)
        for component in NAMES:
            if component not in present:
                raise self._failure(component, "has ended")

    def log(self, component: str) -> Path:
        return self._paths.logs / f"{component}.log"

    def _failure(self, component: str, what: str) -> LocalClusterError:
        log = self.log(component)
        return LocalClusterError(f"{component} {what}; the end of {log}:\n{apiserver.tail(log)}")


def listens(path: Path) -> bool:
    """Whether somebody accepts connections on this Unix socket."""
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except OSError:
            return False
        return True


def _memory_mib(pid: int | None) -> int | None:
    if pid is None:
        return None
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    resident = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
    return int(resident.group(1)) // 1024 if resident else None
