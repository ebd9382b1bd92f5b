"""The cluster that the quickstart works on: an instance of local/, or a context of a kubeconfig.

Either gives kubectl, the flags by which helm and headrace find the same cluster, and loopback ports to its Services.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from headrace_local.errors import LocalClusterError
from headrace_local.instance import Instance
from headrace_local.quickstart.names import down_command
from headrace_local.shell import run

_TOOLS = Path(sys.executable).parent
_FORWARD_SECONDS = 30.0


class Target(Protocol):
    """A cluster."""

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout: float = 120.0) -> str: ...

    def helm(self, *arguments: str, timeout: float) -> str: ...

    def headrace(self, *arguments: str, timeout: float) -> str: ...

    def forward(self, namespace: str, service: str, port: int) -> int:
        """A port on 127.0.0.1 that leads to a Service."""

    def how_to_reach(self) -> list[str]:
        """Commands for a person's own shell."""

    def forward_again(self, namespace: str, service: str, port: int) -> str:
        """The command that makes such a port once the quickstart has ended; empty when the port stays."""

    def clean_up(self) -> str:
        """The command that takes away what the quickstart made, and what it takes."""


def get(target: Target, *arguments: str) -> dict[str, Any]:
    """An object or a list as kubectl gives it."""
    found: dict[str, Any] = json.loads(target.kubectl("get", *arguments, "-o", "json"))
    return found


def find(target: Target, *arguments: str) -> dict[str, Any] | None:
    """An object, or None where there is none."""
    text = target.kubectl("get", *arguments, "--ignore-not-found", "-o", "json")
    return json.loads(text) if text.strip() else None


def _tool(name: str) -> str:
    """A program of the environment that scripts/environment makes."""
    path = _TOOLS / name
    if not path.exists():
        raise LocalClusterError(f"{path} is missing: scripts/environment makes it")
    return str(path)


@dataclass(frozen=True)
class LocalTarget:
    """An instance of local/."""

    instance: Instance

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout: float = 120.0) -> str:
        return self.instance.kubectl(*arguments, stdin=stdin, timeout=timeout)

    def helm(self, *arguments: str, timeout: float) -> str:
        return run([_tool("helm"), *arguments, f"--kubeconfig={self.instance.kubeconfig}"], timeout=timeout)

    def headrace(self, *arguments: str, timeout: float) -> str:
        return run([_tool("headrace"), *arguments, f"--kubeconfig={self.instance.kubeconfig}"], timeout=timeout)

    def forward(self, namespace: str, service: str, port: int) -> int:
        return self.instance.forward(service, port, namespace=namespace)

    def how_to_reach(self) -> list[str]:
        return [
            f"export KUBECONFIG={self.instance.kubeconfig}",
            f"export PATH={self.instance.binaries.directory}:{_TOOLS}:$PATH",
        ]

    def forward_again(self, namespace: str, service: str, port: int) -> str:
        del namespace, service, port
        return ""

    def clean_up(self) -> str:
        return f"{down_command(self.instance.name)}   # takes the cluster away, with its images"


class ContextTarget:
    """A context of the user's kubeconfig, or of another; its ports are `kubectl port-forward`s that live as long as
    this object.
    """

    def __init__(self, context: str, stack: ExitStack, kubeconfig: Path | None = None) -> None:
        if shutil.which("kubectl") is None:
            raise LocalClusterError("--context needs kubectl in the PATH")
        self._context = context
        self._stack = stack
        self._kubeconfig = kubeconfig
        self._file = [] if kubeconfig is None else [f"--kubeconfig={kubeconfig}"]
        names = run(["kubectl", *self._file, "config", "get-contexts", "-o", "name"]).split()
        if context not in names:
            raise LocalClusterError(f"there is no context {context!r}; there are: {', '.join(names) or 'none'}")
        self._ports: dict[tuple[str, str, int], int] = {}

    @property
    def _kubectl(self) -> list[str]:
        return ["kubectl", f"--context={self._context}", *self._file]

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout: float = 120.0) -> str:
        return run([*self._kubectl, *arguments], stdin=stdin, timeout=timeout)

    def helm(self, *arguments: str, timeout: float) -> str:
        return run([_tool("helm"), *arguments, f"--kube-context={self._context}", *self._file], timeout=timeout)

    def headrace(self, *arguments: str, timeout: float) -> str:
        return run([_tool("headrace"), *arguments, f"--context={self._context}", *self._file], timeout=timeout)

    def forward(self, namespace: str, service: str, port: int) -> int:
        key = (namespace, service, port)
        if key not in self._ports:
            self._ports[key] = self._start_forward(self._forward_command(namespace, service, f":{port}"))
        return self._ports[key]

    def how_to_reach(self) -> list[str]:
        use = [f"kubectl config use-context {self._context}"]
        return [
            *([f"export KUBECONFIG={self._kubeconfig}"] if self._kubeconfig else use),
            f"export PATH={_TOOLS}:$PATH",
        ]

    def forward_again(self, namespace: str, service: str, port: int) -> str:
        wanted = f"{self._ports[(namespace, service, port)]}:{port}"
        return " ".join(self._forward_command(namespace, service, wanted))

    def clean_up(self) -> str:
        return f"kubectl --context={self._context} delete namespace demo   # takes the example away"

    def _forward_command(self, namespace: str, service: str, ports: str) -> list[str]:
        return [
            *self._kubectl,
            f"--namespace={namespace}",
            "port-forward",
            f"service/{service}",
            ports,
        ]

    def _start_forward(self, command: Sequence[str]) -> int:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
        )
        self._stack.callback(_end, process)
        assert process.stdout is not None
        deadline = time.monotonic() + _FORWARD_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            if not select.select([process.stdout], [], [], 0.2)[0]:
                continue
            line = process.stdout.readline()
            if line.startswith("Forwarding from 127.0.0.1:"):
                return int(line.removeprefix("Forwarding from 127.0.0.1:").split()[0])
        raise LocalClusterError(f"`{' '.join(command)}` gave no port: try it by hand")


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
