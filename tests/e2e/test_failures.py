"""Every row of the failure table, made to happen in real pods: class, reason, hint, retried or not, counted or not.

The jobs of one group run at the same time; a script that needs no TensorFlow ends in a second.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from failing_jobs import SLEEP, Case, beside, check, pod_of, second_attempt, start
from platform_under_test import Object, Tenant, kill_in

HOG = "x = []\nwhile True:\n    x.append(bytearray(10_000_000))\n"
CHILD_HOG = f"import subprocess, sys\nprint(subprocess.run([sys.executable, '-c', {HOG!r}]).returncode)\n"
TRAIN = """
import numpy as np, keras
x = np.zeros((32, 2), "float32")
model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
model.compile("sgd", "mse")
model.fit(x, x[:, :1], epochs=1)
"""
FILL = "import time\nopen('big', 'wb').write(b'x' * 80_000_000)\ntime.sleep(300)\n"
# What TensorFlow raises in a worker that cannot reach another: here in both, so that nobody knows why.
LOST = """
class UnavailableError(Exception):
    pass
raise UnavailableError("failed to connect to all addresses; /job:worker/replica:0/task:1")
"""
# No two pods of the gang on one node, of which there is one.
APART = {
    "requiredDuringSchedulingIgnoredDuringExecution": [
        {
            "labelSelector": {"matchLabels": {"headrace.dev/trainingjob": "half-a-gang-fits"}},
            "topologyKey": "kubernetes.io/hostname",
        }
    ]
}
STORAGE = {"secretRef": {"name": "headrace-storage"}}
TRACKED = {"storage": STORAGE, "tracking": {"experiment": "failures"}}
READ_ONLY = {"secretRef": {"name": "headrace-storage-read"}}
SMALL = {"limits": {"memory": "256Mi"}}


def trainer(**container: Any) -> Object:
    return {"spec": {"containers": [{"name": "trainer", **container}]}}


def kill_process(what: str) -> Callable[[Tenant, str], None]:
    """SIGKILL from the node to a process in the job's pod."""

    def act(tenant: Tenant, job: str) -> None:
        kill_in(tenant.get("pod", pod_of(tenant, job)), what)

    return act


def delete_pod(*flags: str) -> Callable[[Tenant, str], None]:
    def act(tenant: Tenant, job: str) -> None:
        tenant.kubectl("delete", "pod", pod_of(tenant, job), "--wait=false", *flags)

    return act


def evict(tenant: Tenant, job: str) -> None:
    pod = pod_of(tenant, job)
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod, "namespace": tenant.namespace},
    }
    path = f"/api/v1/namespaces/{tenant.namespace}/pods/{pod}/eviction"
    tenant.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))


def delete_job(tenant: Tenant, job: str) -> None:
    pod_of(tenant, job)
    tenant.kubectl("delete", "job", f"{job}-1", "--wait=false")


SOON = {"podTemplate": trainer(env=[{"name": "HEADRACE_PEER_HOLD_SECONDS", "value": "3"}])}
DATASETS = {
    "dataset-missing": "s3://{namespace}/none",
    "dataset-forbidden": "s3://{namespace}-other/corpus.txt",
}
ENDS = {
    "raises": Case(
        "raise ValueError('shapes (3,) and (4,)')\n", "UserCode", "ScriptRaised", 2, 2, message="shapes (3,) and (4,)"
    ),
    "exits-nonzero": Case("import sys; sys.exit(7)\n", "UserCode", "ScriptExited", 2, 2),
    "exits-0-untrained": Case("import sys; sys.exit(0)\n", "UserCode", "NothingTrained", 1, 0),
    "package-missing": Case("import no_such_package\n", "Config", "PackageMissing", 1, 0, message="no_such_package"),
    "oom": Case(HOG, "OOM", "OutOfMemory", 2, 2, {"resources": SMALL}, hint="memory"),
    "oom-of-a-child": Case(CHILD_HOG, "OOM", "OutOfMemory", 2, 2, {"resources": SMALL}, hint="memory"),
    "command-not-found": Case(
        SLEEP, "Config", "CommandNotFound", 1, 0, {"podTemplate": trainer(command=["/no/such"])}, hint="FROM"
    ),
    "invalid-image-name": Case(SLEEP, "Config", "InvalidImageName", 1, 0, {"image": "UPPER//:case"}),
    "image-not-to-be-had": Case(
        SLEEP,
        "Image",
        "ImagePull",
        1,
        0,
        {"image": "headrace.invalid/none:1", "startDeadlineSeconds": 15},
        hint="image's name",
    ),
    "no-node-fits": Case(
        SLEEP,
        "Scheduling",
        "Unschedulable",
        1,
        0,
        {"resources": {"limits": {"nvidia.com/gpu": "8"}}, "startDeadlineSeconds": 15},
        hint="node",
        message="nvidia.com/gpu",
    ),
    "secret-missing": Case(
        SLEEP,
        "Config",
        "ContainerConfig",
        1,
        0,
        {"storage": {"secretRef": {"name": "no-such"}}, "startDeadlineSeconds": 15},
        hint="spec.storage.secretRef.name",
        message="no-such",
    ),
    "over-its-storage": Case(
        FILL,
        "Storage",
        "StorageLimit",
        2,
        2,
        {"podTemplate": {"spec": {"volumes": [{"name": "work", "emptyDir": {"sizeLimit": "20Mi"}}]}}},
        hint="ephemeral",
    ),
    "dataset-missing": Case(
        SLEEP,
        "Data",
        "DatasetNotFound",
        1,
        0,
        {"storage": STORAGE},
        hint="spec.datasets",
    ),
    "dataset-forbidden": Case(SLEEP, "Data", "DatasetForbidden", 1, 0, {"storage": STORAGE}),
    "storage-read-only": Case(TRAIN, "Storage", "StorageForbidden", 1, 0, {"storage": READ_ONLY}),
    "peers-lost": Case(
        LOST, "Peer", "PeerLost", 2, 2, {"strategy": {"type": "MultiWorkerMirrored", "workers": 2}} | SOON
    ),
    "init-container-fails": Case(
        SLEEP,
        "UserCode",
        "ContainerFailed",
        2,
        2,
        {"podTemplate": {"spec": {"initContainers": [beside("first", "raise SystemExit(3)")]}}},
        message="first",
    ),
    "side-container-fails": Case(
        TRAIN,
        "UserCode",
        "ContainerFailed",
        2,
        2,
        {"podTemplate": {"spec": {"containers": [{"name": "trainer"}, beside("side", "raise SystemExit(4)")]}}},
        message="side",
    ),
    "volume-missing": Case(
        SLEEP,
        "Config",
        "VolumesNotReady",
        1,
        0,
        {
            "podTemplate": {
                "spec": {
                    "containers": [{"name": "trainer", "volumeMounts": [{"name": "extra", "mountPath": "/extra"}]}],
                    "volumes": [{"name": "extra", "secret": {"secretName": "no-such"}}],
                }
            },
            "startDeadlineSeconds": 45,
        },
    ),
    "deadline": Case(
        SLEEP,
        "Deadline",
        "DeadlineExceeded",
        1,
        0,
        {"activeDeadlineSeconds": 40} | TRACKED,
    ),
    "half-a-gpu": Case(
        SLEEP,
        "Config",
        "Refused",
        1,
        0,
        {"resources": {"limits": {"nvidia.com/gpu": "0.5"}}},
        message="must be an integer",
    ),
    "service-account-missing": Case(
        SLEEP,
        "Config",
        "PodsRefused",
        1,
        0,
        {"serviceAccountName": "nobody-here", "startDeadlineSeconds": 15},
        hint="service account",
        message="nobody-here",
    ),
    "half-a-gang-fits": Case(
        SLEEP,
        "Scheduling",
        "Unschedulable",
        1,
        0,
        {
            "strategy": {"type": "MultiWorkerMirrored", "workers": 2},
            "podTemplate": {"spec": {"affinity": {"podAntiAffinity": APART}}},
            "startDeadlineSeconds": 20,
        },
        message="anti-affinity",
    ),
}

DISTURBED = {
    "script-killed": Case(SLEEP, "Killed", "ChildKilled", 2, 1, act=kill_process("headrace_trainer.adapters.keras")),
    "launcher-killed": Case(SLEEP, "Killed", "ProcessKilled", 2, 1, act=kill_process("-m\0headrace_trainer\0")),
    "pod-deleted": Case(SLEEP, "Disrupted", "Terminated", 2, 0, act=delete_pod()),
    "pod-deleted-by-force": Case(
        SLEEP, "Disrupted", "PodDeleted|Terminated", 2, 0, act=delete_pod("--force", "--grace-period=0")
    ),
    "pod-evicted": Case(SLEEP, "Disrupted", "Evicted", 2, 0, act=evict),
    "job-deleted": Case(SLEEP, "Disrupted", "Terminated", 2, 0, act=delete_job),
}


@pytest.fixture(scope="module")
def ends(tenant: Tenant) -> dict[str, Object]:
    """The final status of every job that fails by itself."""
    other = tenant.platform.tenant(f"{tenant.namespace}-other")
    other.s3().put_object(Bucket=other.namespace, Key="corpus.txt", Body=b"somebody else's")
    for name, case in ENDS.items():
        start(tenant, name, case, DATASETS.get(name))
    return {name: tenant.finished(name) for name in ENDS}


@pytest.fixture(scope="module")
def disturbed(tenant: Tenant) -> dict[str, Object]:
    """The status of every job that something was done to, after its first attempt ended."""
    for name, case in DISTURBED.items():
        start(tenant, name, case)
    for name, case in DISTURBED.items():
        assert case.act is not None
        case.act(tenant, name)
    found = {name: tenant.wait("trainingjob", name, second_attempt) for name in DISTURBED}
    tenant.kubectl("delete", "trainingjob", *DISTURBED, "--wait=false")
    return found


@pytest.mark.parametrize("name", ENDS)
def test_a_job_that_fails_says_why_and_is_retried_as_its_class_asks(ends, name):
    check(ENDS[name], ends[name])


def test_the_run_of_a_job_that_was_cut_off_says_that_it_failed_and_why(tenant, ends):
    run = tenant.wait("trainingjob", "deadline", lambda s: s["run"].get("ended"), 40)["run"]["id"]

    found = tenant.mlflow(f"runs/get?run_id={run}")["run"]

    assert found["info"]["status"] == "FAILED"
    assert {"key": "headrace.outcome", "value": "failed: Deadline/DeadlineExceeded"} in found["data"]["tags"]


@pytest.mark.parametrize("name", DISTURBED)
def test_a_job_that_is_disturbed_says_by_what_and_starts_again(disturbed, name):
    check(DISTURBED[name], disturbed[name])


def test_an_entrypoint_that_is_not_in_the_source_is_told_within_10_s_and_waited_for(tenant):
    tenant.script("entry", "print()\n")
    tenant.train("entry", entrypoint="other.py")

    status = tenant.wait("trainingjob", "entry", lambda s: s.get("reason") == "EntrypointNotFound", 10)

    assert status["state"] == "Pending"
    assert "other.py" in status["message"]


def test_a_source_that_does_not_exist_is_told_within_10_s(tenant):
    tenant.train("no-source", source={"configMap": {"name": "nowhere"}})

    status = tenant.wait("trainingjob", "no-source", lambda s: s.get("reason") == "SourceNotFound", 10)

    assert "nowhere" in status["message"]


def test_a_bucket_that_is_not_there_is_told_and_not_tried_again(tenant):
    other = tenant.platform.tenant(f"{tenant.namespace}-gone")
    gone = json.dumps({"data": {"bucket": f"{other.namespace}-was-here"}})
    other.kubectl("patch", "configmap", "headrace-tenant", "--type=merge", "--patch", gone)
    case = Case(TRAIN, "Storage", "BucketNotFound|StorageForbidden", 1, 0, {"storage": STORAGE})
    start(other, "no-bucket", case)

    check(case, other.finished("no-bucket"))


# --- several workers -------------------------------------------------------------------------------------------------

# The workers meet first, so that it is known who raises first: the other one hears the end of its process.
MEET_AND_RAISE = """
import json, os, socket, time
config = json.loads(os.environ["TF_CONFIG"])
host, port = config["cluster"]["worker"][0].rsplit(":", 1)[0], 4000  # its own port is TensorFlow's
if config["task"]["index"] == 0:
    with socket.create_server(("", port)) as server:
        meeting, _ = server.accept()
    meeting.recv(1)
    raise ValueError("the first worker")
while True:
    try:
        meeting = socket.create_connection((host, port), timeout=5)
        break
    except OSError:
        time.sleep(0.1)
raise ValueError("the second worker")
"""


def test_of_two_workers_that_die_within_a_second_the_first_is_the_cause(tenant):
    tenant.script("pair", MEET_AND_RAISE)
    tenant.train("pair", strategy={"type": "MultiWorkerMirrored", "workers": 2}, restartPolicy={"maxRestarts": 0})

    failure = tenant.finished("pair")["failure"]

    assert failure["class"] == "UserCode"
    assert failure["reason"] == "ScriptRaised"
    assert failure["pod"].startswith("pair-1-1-"), failure
    assert "the second worker" in failure["message"]
