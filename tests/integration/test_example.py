"""`headrace example run` on a real API server; the statuses are what an operator would write."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SECONDS = 60
SUCCEEDED = {
    "state": "Succeeded",
    "reason": "GatePassed",
    "model": {"name": "demo.digits", "version": "1", "digest": "sha256:0"},
}
FAILED = {"state": "Failed", "reason": "BadConfig", "message": "train.py does not start"}


def start(kubectl: Any, namespace: str, name: str = "digits") -> subprocess.Popen[str]:
    """In a tenant's namespace."""
    kubectl("create", "configmap", "headrace-tenant", "--namespace", namespace, "--from-literal=bucket=bucket-of-a")
    command = [sys.executable, "-m", "headrace.cli.main", "example", "run", name, "--namespace", namespace]
    command += ["--kubeconfig", str(kubectl.kubeconfig), "--timeout", str(SECONDS)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def say(kubectl: Any, kind: str, namespace: str, status: dict[str, Any]) -> None:
    """Waits until the object is there, and writes its status."""
    deadline = time.monotonic() + SECONDS
    patch = ["patch", kind, "digits", "--namespace", namespace, "--subresource=status", "--type=merge"]
    while kubectl.run(*patch, "--patch", json.dumps({"status": status})).returncode != 0:
        assert time.monotonic() < deadline, f"no {kind} was made"
        time.sleep(0.2)


def serving(namespace: str) -> dict[str, Any]:
    condition = {"type": "Ready", "status": "True", "reason": "Serving", "message": "1 of 1 pods are ready"}
    return {
        "observedGeneration": 1,
        "phase": "Stable",
        "conditions": [condition | {"lastTransitionTime": "2025-01-01T00:00:00Z"}],
        "url": f"http://GATEWAY/{namespace}/digits/v2/models/digits",
    }


def test_an_example_is_applied_and_its_client_named_when_it_serves(kubectl, namespace):
    process = start(kubectl, namespace)
    say(kubectl, "trainingjob", namespace, SUCCEEDED)
    say(kubectl, "modelservice", namespace, serving(namespace))
    said, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, errors
    assert "TrainingJob digits: Succeeded version 1 of demo.digits" in said
    assert f"client.py http://GATEWAY/{namespace}/digits digits" in said
    script = kubectl.get("configmap", "digits", namespace)["data"]["train.py"]
    assert script == (EXAMPLES / "digits" / "train.py").read_text()


def test_an_example_that_was_run_is_not_run_again(kubectl, namespace):
    for name in ("trainingjob", "modelservice"):
        kubectl("create", "--namespace", namespace, "--filename", EXAMPLES / "digits" / f"{name}.yaml")
    say(kubectl, "trainingjob", namespace, SUCCEEDED)
    say(kubectl, "modelservice", namespace, serving(namespace))
    before = kubectl.get("trainingjob", "digits", namespace)["metadata"]["uid"]
    process = start(kubectl, namespace)
    _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, errors
    assert kubectl.get("trainingjob", "digits", namespace)["metadata"]["uid"] == before


def test_a_training_that_fails_ends_the_command_with_its_reason(kubectl, namespace):
    process = start(kubectl, namespace)
    say(kubectl, "trainingjob", namespace, FAILED)
    _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 1
    assert "TrainingJob digits: Failed BadConfig train.py does not start" in errors


def test_a_config_map_that_somebody_else_made_is_left_alone(kubectl, namespace):
    kubectl("create", "configmap", "digits", "--namespace", namespace, "--from-literal=train.py=print(1)")
    process = start(kubectl, namespace)
    _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 1
    assert "somebody else made configmap digits" in errors
    assert kubectl.run("get", "trainingjob", "digits", "--namespace", namespace).returncode != 0
    assert kubectl.get("configmap", "digits", namespace)["data"]["train.py"] == "print(1)"
