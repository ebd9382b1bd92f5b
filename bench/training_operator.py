"""The peer: Kubeflow's training-operator, built from its Go module once a machine and run outside of a pod.

It runs as its Deployment runs it, with all its kinds and without leader election; only ports and namespace are given.
Its admission webhook cannot be reached without a Service: it is registered, because the operator insists on that, and
called for nothing. So an apply costs the peer less here than on a cluster.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from headrace.kube.resources import Object, Resource
from headrace_local import locks, paths, ports, shell, toolchain
from headrace_local.controlplane import ControlPlane
from headrace_local.errors import LocalClusterError
from headrace_local.process import Process
from headrace_local.progress import Report, to_stderr

TFJOBS = Resource("kubeflow.org", "v1", "tfjobs", "TFJob")
POD_LABEL = "training.kubeflow.org/job-name"

MODULE = "github.com/kubeflow/training-operator@v1.8.1"
MODULE_SUM = "h1:mVvoBSCInbMBX0gGSn4+Ihj3ycwoLO1iEAw+0qPhQfc="
COMMAND = "./cmd/training-operator.v1"
BUILD_FLAGS = ("-trimpath", "-ldflags", "-s -w")
BUILD_SECONDS = 1800.0

NAMESPACE = "kubeflow"
SECRET = "training-operator-webhook-cert"
WEBHOOKS = "validator.training-operator.kubeflow.org"
CERTIFICATES = Path("/tmp/k8s-webhook-server/serving-certs")  # fixed in its code
START_SECONDS = 120.0


@dataclass(frozen=True)
class TrainingOperator:
    """The program, and the manifests that belong to it."""

    program: Path
    manifests: Path


def ensure(report: Report = to_stderr) -> TrainingOperator:
    """The peer, built now if it is not there. Raises LocalClusterError where the module or the build fails."""
    go = toolchain.go(report)
    module = _download(go)
    version = shell.run([go, "env", "GOVERSION", "GOOS", "GOARCH"])
    key = hashlib.sha256(json.dumps([MODULE_SUM, COMMAND, BUILD_FLAGS, version]).encode()).hexdigest()[:16]
    directory = paths.cache() / "peers" / f"training-operator-{key}"
    if not directory.is_dir():
        with locks.exclusive(directory.parent / ".lock", what=f"building {MODULE}", timeout=BUILD_SECONDS):
            if not directory.is_dir():
                _build(go, module, directory, report)
    return TrainingOperator(directory / "training-operator", module / "manifests" / "base")


def job(name: str, namespace: str, *, suspend: bool) -> Object:
    """A TFJob of one worker."""
    container = {"name": "tensorflow", "image": "trainer:none"}
    worker = {"replicas": 1, "template": {"spec": {"containers": [container]}}}
    return {
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"runPolicy": {"suspend": suspend}, "tfReplicaSpecs": {"Worker": worker}},
    }


def is_suspended(job: Object) -> bool:
    conditions = (job.get("status") or {}).get("conditions") or ()
    return any(entry["type"] == "Suspended" and entry["status"] == "True" for entry in conditions)


@contextmanager
def running(peer: TrainingOperator, plane: ControlPlane, folder: Path) -> Iterator[Process]:
    """The operator, ready, until the end of the block."""
    plane.run_kubectl("apply", "--server-side", "--kustomize", peer.manifests / "crds")
    plane.run_kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd", "--all")
    prepared = folder / "training-operator.yaml"
    prepared.write_text(yaml.safe_dump_all(_prerequisites(peer)))
    plane.run_kubectl("apply", "--server-side", "--filename", prepared)
    metrics, health, webhook = ports.free(3)
    command = [
        str(peer.program),
        f"--metrics-bind-address=127.0.0.1:{metrics}",
        f"--health-probe-bind-address=127.0.0.1:{health}",
        f"--webhook-server-port={webhook}",
    ]
    environment = {"KUBECONFIG": str(plane.kubeconfig), "MY_POD_NAMESPACE": NAMESPACE}
    if CERTIFICATES.exists():
        raise LocalClusterError(f"{CERTIFICATES} is there already: does another training-operator run? Else remove it")
    process = Process(command, folder / "training-operator.log", environment)
    try:
        _hand_over_certificates(plane, process)
        _wait_until_ready(f"http://127.0.0.1:{health}/readyz", process)
        yield process
    finally:
        process.kill()
        shutil.rmtree(CERTIFICATES, ignore_errors=True)
        with suppress(OSError):  # not empty: somebody else's
            CERTIFICATES.parent.rmdir()


def _download(go: Path) -> Path:
    paths.cache().mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [go, "mod", "download", "-json", MODULE],
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
        cwd=paths.cache(),
        env={**os.environ, "GOWORK": "off"},
    )
    if done.returncode != 0:
        raise LocalClusterError(f"{MODULE} could not be downloaded: {done.stdout} {done.stderr}")
    found = json.loads(done.stdout)
    if found["Sum"] != MODULE_SUM:
        raise LocalClusterError(f"{MODULE} has the checksum {found['Sum']}, expected {MODULE_SUM}")
    return Path(found["Dir"])


def _build(go: Path, module: Path, directory: Path, report: Report) -> None:
    report(f"building {MODULE} into {directory} (once a machine: 2 minutes on 2 cores)")
    with tempfile.TemporaryDirectory(prefix=".build-", dir=directory.parent) as temporary:
        target = Path(temporary) / "bin"
        target.mkdir()
        shell.run_long(
            [go, "build", "-v", *BUILD_FLAGS, "-o", target / "training-operator", COMMAND],
            what="go build",
            timeout=BUILD_SECONDS,
            report=report,
            describe=lambda packages: f"{len(packages)} packages",
            environment={"CGO_ENABLED": "0", "GOWORK": "off"},
            directory=module,
        )
        target.rename(directory)


def _prerequisites(peer: TrainingOperator) -> list[dict[str, Any]]:
    """What its manifests make beside the Deployment: a namespace, the Secret that it fills, the webhooks."""
    webhooks = yaml.safe_load((peer.manifests / "webhook" / "manifests.yaml").read_text())
    webhooks["metadata"]["name"] = WEBHOOKS
    for webhook in webhooks["webhooks"]:
        webhook["clientConfig"]["service"] |= {"name": "training-operator", "namespace": NAMESPACE}
        webhook["failurePolicy"] = "Ignore"
        webhook["objectSelector"] = {"matchLabels": {"headrace.dev/bench": "nothing-has-this-label"}}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET, "namespace": NAMESPACE}},
        webhooks,
    ]


def _hand_over_certificates(plane: ControlPlane, process: Process) -> None:
    """Put what it writes into its Secret where a kubelet would mount it."""
    command = ("get", "secret", SECRET, "--namespace", NAMESPACE, "--output=json")
    deadline = time.monotonic() + START_SECONDS
    while not (data := json.loads(plane.run_kubectl(*command)).get("data")):
        _must_go_on(process, deadline)
    CERTIFICATES.mkdir(parents=True)
    for name, value in data.items():
        file = CERTIFICATES / name
        file.touch(mode=0o600)
        file.write_bytes(base64.b64decode(value))


def _wait_until_ready(url: str, process: Process) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            _must_go_on(process, deadline)


def _must_go_on(process: Process, deadline: float) -> None:
    if not process.is_running() or time.monotonic() > deadline:
        raise LocalClusterError(f"training-operator does not start: {process.log.read_text()[-2000:]}")
    time.sleep(0.2)
