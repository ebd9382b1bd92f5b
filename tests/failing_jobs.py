"""A job that ends badly, and what its status has to say of that: for the end-to-end tests of the failure table."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from headrace_local.errors import LocalClusterError
from platform_under_test import Object, Tenant

SLEEP = "import time\nprint('started', flush=True)\ntime.sleep(300)\n"


@dataclass(frozen=True)
class Case:
    """One job, what is done to it while it runs, and what its status has to say."""

    script: str
    failure_class: str
    reason: str
    attempts: int  # with maxRestarts 1: 2 where the failure is retried
    counted: int
    spec: Object = field(default_factory=dict)
    act: Callable[[Tenant, str], None] | None = None
    hint: str = ""
    message: str = ""


def start(tenant: Tenant, name: str, case: Case, dataset: str | None = None) -> None:
    """`dataset` is a uri, in which {namespace} is the tenant's."""
    tenant.script(name, case.script)
    spec = {"restartPolicy": {"maxRestarts": 1}} | case.spec
    if dataset:
        spec["datasets"] = [{"name": "corpus", "uri": dataset.format(namespace=tenant.namespace)}]
    tenant.train(name, **spec)


def second_attempt(status: Object) -> bool:
    return status.get("attempt", {}).get("number", 0) >= 2 or status.get("state") == "Failed"


def check(case: Case, status: Object) -> None:
    failure = status["failure"]
    assert failure["class"] == case.failure_class, failure
    assert failure["reason"] in case.reason.split("|"), failure
    assert status["attempt"]["number"] == case.attempts, status["history"]
    assert status.get("attemptsCounted", 0) == case.counted, status["history"]
    assert failure["hint"], failure
    assert case.hint in failure["hint"], failure
    assert case.message in failure["message"], failure


def has_started(tenant: Tenant, pod: str) -> bool:
    try:
        return "started" in tenant.kubectl("logs", pod, "--tail=20")
    except LocalClusterError:  # its container is being created
        return False


def pod_of(tenant: Tenant, job: str) -> str:
    """The pod of the job's first attempt, once its script has said that it started."""
    deadline = time.monotonic() + 90
    while True:
        pods = tenant.kubectl(
            "get", "pods", "-l", f"headrace.dev/trainingjob={job},headrace.dev/attempt=1", "-o", "name"
        ).split()
        if pods and has_started(tenant, pods[0]):
            return pods[0].removeprefix("pod/")
        assert time.monotonic() < deadline, f"no pod of {job} has started"
        time.sleep(0.5)


def beside(name: str, code: str) -> Object:
    """A container that the user adds to the pod."""
    return {"name": name, "image": "headrace.local/trainer:dev", "command": ["/opt/venv/bin/python", "-c", code]}
