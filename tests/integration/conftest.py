"""A real API server for all integration tests, with Headrace's CRDs.

Tests share it and keep apart by namespace (the fixture `namespace`). Who stops, freezes or reconfigures an API server
starts one of their own.
"""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from crds import established
from headrace_local.controlplane import ControlPlane
from kube_requests import Api

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Kubectl:
    """kubectl as a cluster administrator, or as `user`."""

    plane: ControlPlane
    kubeconfig: Path

    def run(self, *arguments: str | Path, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run it and return what came of it, whatever that is."""
        command = [self.plane.kubectl, "--kubeconfig", self.kubeconfig, *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60)

    def __call__(self, *arguments: str | Path, stdin: str | None = None) -> str:
        """Run it and return what it prints; anything but success fails the test with its message."""
        done = self.run(*arguments, stdin=stdin)
        assert done.returncode == 0, f"kubectl {' '.join(map(str, arguments))}: {done.stderr}"
        return done.stdout

    def create(self, *objects: dict[str, Any]) -> str:
        return self("create", "-f", "-", stdin=_list(objects))

    def get(self, kind: str, name: str, namespace: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self("get", kind, name, "--namespace", namespace, "--output=json"))
        return found

    def as_user(self, user: str, groups: list[str] | None = None) -> Kubectl:
        return Kubectl(self.plane, self.plane.kubeconfig_for(user, groups))


def _list(objects: tuple[dict[str, Any], ...]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """etcd, API server and controller manager, without nodes: Jobs make pods that nothing runs."""
    with ControlPlane.start(tmp_path_factory.mktemp("control-plane"), controller_manager=True) as plane:
        kubectl = Kubectl(plane, plane.kubeconfig)
        kubectl("apply", "--server-side", "-f", REPOSITORY / "crds")
        established(plane, "-f", REPOSITORY / "crds")
        yield plane


@pytest.fixture(scope="session")
def kubectl(control_plane: ControlPlane) -> Kubectl:
    return Kubectl(control_plane, control_plane.kubeconfig)


@pytest.fixture(scope="session")
def api(control_plane: ControlPlane) -> Api:
    """For tables of cases."""
    return Api.of(control_plane.kubeconfig)


@pytest.fixture
def namespace(kubectl: Kubectl) -> str:
    """A namespace of the test's own."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    kubectl("create", "namespace", name)
    return name
