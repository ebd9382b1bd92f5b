"""The platform as a user has it: the chart on a real cluster, a tenant's namespace, and what a user does in it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headrace_local.instance import Instance

REPOSITORY = Path(__file__).resolve().parents[1]
SYSTEM = "headrace-system"
VALUES = {
    "image.registry": "headrace.local",
    "image.tag": "dev",
    "mlflow.persistence.size": "1Gi",
    "s3.persistence.size": "5Gi",
}
IMAGES = ("operator", "trainer", "loader", "onnxruntime", "mlflow", "s3", "gateway")
TRAINING_PATIENCE = 240.0

Object = dict[str, Any]


@dataclass(frozen=True)
class Platform:
    """The installed chart; `gateway`, `mlflow` and `s3` are loopback URLs."""

    cluster: Instance
    gateway: str
    mlflow: str
    s3: str

    def tenant(self, namespace: str) -> Tenant:
        """A namespace with its bucket, users and Secrets."""
        self.cluster.kubectl("create", "namespace", namespace)
        run(
            "headrace", "tenant", "add", namespace, "--kubeconfig", str(self.cluster.kubeconfig),
            "--s3-url", self.s3, "--mlflow-url", self.mlflow,
        )  # fmt: skip
        return Tenant(self, namespace)


@dataclass(frozen=True)
class Tenant:
    """What an ML engineer does with kubectl in a namespace."""

    platform: Platform
    namespace: str

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        return self.platform.cluster.kubectl("--namespace", self.namespace, *arguments, stdin=stdin)

    def apply(self, *objects: Object) -> None:
        self.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))

    def script(self, name: str, text: str) -> None:
        self.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"train.py": text}})

    def train(self, job_name: str, **spec: Any) -> None:
        """Apply a TrainingJob; unless the spec says otherwise its script is the ConfigMap of the same name."""
        defaults = {"source": {"configMap": {"name": job_name}}, "entrypoint": "train.py"}
        self.apply(
            {
                "apiVersion": "headrace.dev/v1alpha1",
                "kind": "TrainingJob",
                "metadata": {"name": job_name},
                "spec": defaults | spec,
            }
        )

    def get(self, kind: str, name: str) -> Object:
        found: Object = json.loads(self.kubectl("get", kind, name, "--output=json"))
        return found

    def status(self, kind: str, name: str) -> Object:
        return self.get(kind, name).get("status") or {}

    def wait(self, kind: str, name: str, until: Callable[[Object], bool], seconds: float = TRAINING_PATIENCE) -> Object:
        """The status, once it is as asked; what it was at the deadline fails the test."""
        deadline = time.monotonic() + seconds
        while True:
            status = self.status(kind, name)
            if until(status):
                return status
            assert time.monotonic() < deadline, f"{kind} {name} after {seconds:.0f} s: {json.dumps(status, indent=1)}"
            time.sleep(1)

    def finished(self, job_name: str, seconds: float = TRAINING_PATIENCE) -> Object:
        return self.wait("trainingjob", job_name, lambda s: s.get("state") in ("Succeeded", "Failed"), seconds)

    def secret(self, name: str) -> dict[str, str]:
        import base64

        data = json.loads(self.kubectl("get", "secret", name, "--output=json"))["data"]
        return {key: base64.b64decode(value).decode() for key, value in data.items()}


def install(cluster: Instance) -> Platform:
    """Build the images, install the chart with the values of a trial, and open loopback ports to its Services."""
    cluster.build_project(IMAGES)
    helm = Path(sys.executable).parent / "helm"
    settings = [part for key, value in VALUES.items() for part in ("--set", f"{key}={value}")]
    run(
        str(helm), "upgrade", "--install", "headrace", str(REPOSITORY / "charts" / "headrace"),
        "--kubeconfig", str(cluster.kubeconfig), "--namespace", SYSTEM, "--create-namespace",
        "--wait", "--timeout", "5m", *settings, seconds=400,
    )  # fmt: skip

    def url(service: str, port: int) -> str:
        return f"http://127.0.0.1:{cluster.forward(service, port, namespace=SYSTEM)}"

    return Platform(cluster, url("headrace-gateway", 80), url("headrace-mlflow", 5000), url("headrace-s3", 7070))


def run(*command: str, seconds: float = 120) -> str:
    """A command of a user's; its output is in the message when it fails."""
    if command[0] == "headrace":
        command = (sys.executable, "-m", "headrace.cli.main", *command[1:])
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout
