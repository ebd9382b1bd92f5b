"""A real API server for all integration tests, with Headrace's CRDs.

Tests share it and keep apart by namespace (the fixture `namespace`). Who stops, freezes or reconfigures an API server
starts one of their own.
"""

from __future__ import annotations

import base64
import json
import ssl
import subprocess
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from headrace_local.controlplane import ControlPlane

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


@dataclass(frozen=True)
class Api:
    """Plain requests as a cluster administrator, for tables of cases: a hundredth of kubectl's time, the same words."""

    url: str
    context: ssl.SSLContext

    def try_to_create(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Create it without keeping it; what the API server answers: the object, or the Status of a refusal."""
        group_version, plural = manifest["apiVersion"], f"{manifest['kind'].lower()}s"
        collection = f"{self.url}/apis/{group_version}/namespaces/{manifest['metadata']['namespace']}/{plural}"
        request = urllib.request.Request(
            f"{collection}?dryRun=All&fieldValidation=Strict",
            data=json.dumps(manifest).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, context=self.context, timeout=30) as answer:
                body = answer.read()
        except urllib.error.HTTPError as error:
            body = error.read()
        result: dict[str, Any] = json.loads(body)
        return result

    def refusal(self, manifest: dict[str, Any]) -> str:
        """The message that the API server refuses an object with."""
        answer = self.try_to_create(manifest)
        assert answer["kind"] == "Status", f"the API server accepted {json.dumps(manifest)}"
        message: str = answer["message"]
        return message


def _list(objects: tuple[dict[str, Any], ...]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """etcd, API server and controller manager, without nodes: Jobs make pods that nothing runs."""
    with ControlPlane.start(tmp_path_factory.mktemp("control-plane"), controller_manager=True) as plane:
        kubectl = Kubectl(plane, plane.kubeconfig)
        kubectl("apply", "--server-side", "-f", REPOSITORY / "crds")
        kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", REPOSITORY / "crds")
        yield plane


@pytest.fixture(scope="session")
def kubectl(control_plane: ControlPlane) -> Kubectl:
    return Kubectl(control_plane, control_plane.kubeconfig)


@pytest.fixture(scope="session")
def api(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Api:
    config = yaml.safe_load(control_plane.kubeconfig.read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    pair = tmp_path_factory.mktemp("api") / "pair.pem"
    pair.touch(mode=0o600)
    pair.write_bytes(base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"]))
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    context = ssl.create_default_context(cadata=authority)
    context.load_cert_chain(pair)
    return Api(control_plane.url, context)


@pytest.fixture
def namespace(kubectl: Kubectl) -> str:
    """A namespace of the test's own."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    kubectl("create", "namespace", name)
    return name
