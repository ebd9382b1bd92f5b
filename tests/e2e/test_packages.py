"""`requirements.txt` beside the script, in pods: installed from an index in the cluster, and there again without it."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest

from headrace_local import images
from platform_under_test import Tenant
from wheels import wheel

INDEX = "package-index"
SCRIPT = """
import subprocess, time
import headrace_client as headrace
import tiny

print("the script has tiny", tiny.VERSION, flush=True)
subprocess.run(["say-tiny"], check=True)
if headrace.last_checkpoint() is None:
    with headrace.checkpoint(step=1) as folder:
        (folder / "begun").touch()
    headrace.progress(step=1)
    time.sleep(600)
"""


@pytest.fixture
def index(tenant: Tenant) -> Iterator[str]:
    """The URL of a web server with the pages of a package index: folders with wheels in them."""
    file, data = wheel("tiny", "1.0")
    labels = {"app": INDEX}
    tenant.apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": INDEX},
            "binaryData": {file: base64.b64encode(data).decode()},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": INDEX},
            "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 8000}]},
        },
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": INDEX, "labels": labels},
            "spec": {
                "terminationGracePeriodSeconds": 0,
                "containers": [
                    {
                        "name": "web",
                        "image": images.name_of("trainer"),
                        "command": ["python", "-m", "http.server", "8000", "--directory", "/srv"],
                        "volumeMounts": [{"name": "wheels", "mountPath": "/srv"}],
                    }
                ],
                "volumes": [
                    {
                        "name": "wheels",
                        "configMap": {"name": INDEX, "items": [{"key": file, "path": f"simple/tiny/{file}"}]},
                    }
                ],
            },
        },
    )
    tenant.kubectl("wait", f"pod/{INDEX}", "--for=condition=Ready", "--timeout=60s")
    yield f"http://{INDEX}/simple"
    tenant.kubectl("delete", f"pod/{INDEX}", f"service/{INDEX}", f"configmap/{INDEX}", "--ignore-not-found")


def test_a_package_is_installed_in_the_pod_and_is_there_again_without_its_index(tenant: Tenant, index: str) -> None:
    data = {"train.py": SCRIPT, "requirements.txt": f"--index-url {index}\ntiny\n"}
    tenant.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "packages"}, "data": data})
    tenant.train("packages", framework="Script", storage={"secretRef": {"name": "headrace-storage"}})
    tenant.wait("trainingjob", "packages", lambda status: bool(status.get("checkpoint")))
    tenant.kubectl("delete", f"pod/{INDEX}")
    tenant.kubectl("delete", "pods", "-l", "headrace.dev/trainingjob=packages", "--wait=false")

    status = tenant.finished("packages")

    assert status["state"] == "Succeeded", status
    assert status["attempt"]["number"] == 2, status
    pod = tenant.kubectl("get", "pods", "-l", "headrace.dev/trainingjob=packages", "-o", "name").split()[-1]
    said = tenant.kubectl("logs", pod)
    assert "the packages are those that attempt 1 had installed" in said
    assert "tiny says 1.0" in said
