"""Headrace in the cluster, and a namespace that may use it: helm, `headrace tenant add`."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass

from headrace_local import paths
from headrace_local.errors import LocalClusterError
from headrace_local.quickstart.names import SYSTEM, TENANT
from headrace_local.quickstart.report import Report
from headrace_local.quickstart.targets import Target, find, get

RELEASE = "headrace"
MLFLOW_PORT, S3_PORT, GATEWAY_PORT = 5000, 7070, 80
IMAGES = ("trainer", "mlflow", "onnxruntime", "explainer", "tensorflow-serving", "operator", "loader", "s3", "gateway")

_HELM_TIMEOUT = 120.0
_ROLLOUT_TIMEOUT = 300.0
_TENANT_TIMEOUT = 120.0


@dataclass(frozen=True)
class Addresses:
    """The platform as this machine reaches it."""

    mlflow: str
    s3: str
    gateway: str


def install(target: Target, report: Report, *, registry: str, tag: str) -> None:
    """Install or upgrade the release and wait until all of it runs."""
    if find(target, "customresourcedefinition", "gateways.gateway.networking.k8s.io") is None:
        raise LocalClusterError(
            "the cluster lacks the Gateway API's CRDs, which the chart's gateway needs: install them first"
        )
    report(f"helm upgrade --install {RELEASE}, images {registry}/...:{tag}")
    target.helm(
        "upgrade",
        "--install",
        RELEASE,
        str(paths.REPOSITORY / "charts" / "headrace"),
        f"--namespace={SYSTEM}",
        "--create-namespace",
        f"--set=image.registry={registry},image.tag={tag}",
        timeout=_HELM_TIMEOUT,
    )
    wait_until_ready(target, report)


def wait_until_ready(target: Target, report: Report) -> None:
    def look() -> tuple[bool, str]:
        deployments = get(
            target, "deployments", f"--namespace={SYSTEM}", f"--selector=app.kubernetes.io/instance={RELEASE}"
        )
        ready = {item["metadata"]["name"]: _is_rolled_out(item) for item in deployments["items"]}
        waiting = sorted(name for name, done in ready.items() if not done)
        line = f"waiting for {', '.join(waiting)}" if waiting else f"ready: {', '.join(sorted(ready))}"
        return bool(ready) and not waiting, line

    report.wait(
        "the platform",
        look,
        timeout=_ROLLOUT_TIMEOUT,
        hint=f"Look at `kubectl -n {SYSTEM} get pods` and `kubectl -n {SYSTEM} get events`.",
    )


def addresses(target: Target) -> Addresses:
    """Loopback ports to MLflow, the S3 store and the gateway."""
    ports = {
        "mlflow": target.forward(SYSTEM, f"{RELEASE}-mlflow", MLFLOW_PORT),
        "s3": target.forward(SYSTEM, f"{RELEASE}-s3", S3_PORT),
        "gateway": target.forward(SYSTEM, f"{RELEASE}-gateway", GATEWAY_PORT),
    }
    return Addresses(**{name: f"http://127.0.0.1:{port}" for name, port in ports.items()})


def add_tenant(target: Target, report: Report, where: Addresses) -> None:
    """A namespace with a bucket and credentials of its own."""
    if find(target, "namespace", TENANT) is None:
        target.kubectl("create", "namespace", TENANT)
    report(f"headrace tenant add {TENANT}")
    said = target.headrace(
        "tenant", "add", TENANT, f"--s3-url={where.s3}", f"--mlflow-url={where.mlflow}", timeout=_TENANT_TIMEOUT
    )
    for line in said.splitlines():
        report(line)


def secret(target: Target, namespace: str, name: str) -> Mapping[str, str]:
    """A Secret's values as text."""
    data: Mapping[str, str] = get(target, "secret", name, f"--namespace={namespace}")["data"]
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


def _is_rolled_out(deployment: Mapping[str, dict[str, int]]) -> bool:
    status, wanted = deployment.get("status", {}), deployment["spec"].get("replicas", 1)
    return (
        status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
        and status.get("updatedReplicas", 0)
        == status.get("availableReplicas", 0)
        == status.get("replicas", 0)
        == wanted
    )
