"""What the scheduler and the node do to a job: something more important takes its place, the node does not answer."""

from __future__ import annotations

import json
import os
import signal

from failing_jobs import SLEEP, Case, beside, check, pod_of, second_attempt, start
from headrace_local import members


def test_a_job_that_something_more_important_takes_the_place_of_starts_again_and_counts_nothing(tenant):
    cores = float(tenant.platform.cluster.kubectl("get", "nodes", "-o", "jsonpath={.items[0].status.allocatable.cpu}"))
    # Twice as much no node has, once there is room for beside the platform's pods.
    share = {"limits": {"cpu": f"{0.6 * cores:.1f}", "memory": "256Mi"}}
    below = {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": "may-wait"},
        "value": -100,
        "description": "gives way to everything",
    }
    tenant.kubectl("apply", "-f", "-", stdin=json.dumps(below))
    template = {"podTemplate": {"spec": {"priorityClassName": "may-wait"}}}
    case = Case(SLEEP, "Disrupted", "Preempted", 2, 0, {"resources": share} | template, hint="priorityClassName")
    start(tenant, "preempted", case)
    pod_of(tenant, "preempted")
    container = beside("important", SLEEP) | {"resources": share}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
    tenant.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "important"}, "spec": spec})

    status = tenant.wait("trainingjob", "preempted", second_attempt)
    waiting = tenant.wait("trainingjob", "preempted", lambda s: s.get("reason") == "Unschedulable", 30)
    tenant.kubectl("delete", "pod", "important", "--wait=false")
    tenant.wait("trainingjob", "preempted", lambda s: s.get("state") == "Running", 60)
    tenant.kubectl("delete", "trainingjob", "preempted", "--wait=false")

    check(case, status)
    assert waiting["state"] == "Queued", waiting


def test_a_job_whose_node_does_not_answer_any_more_starts_again_and_counts_nothing(tenant):
    node = tenant.platform.cluster.name
    impatient = {"checkpoint": {"gracePeriod": "15s"}}
    case = Case(SLEEP, "Disrupted", "NodeLost", 2, 0, impatient, message=node)
    start(tenant, "node-lost", case)
    pod = pod_of(tenant, "node-lost")
    kubelet = [member.pid for member in members.of(node) if member.component == "kubelet"]

    for process in kubelet:
        os.kill(process, signal.SIGSTOP)
    try:
        tenant.kubectl("delete", "pod", pod, "--wait=false")
        status = tenant.wait("trainingjob", "node-lost", second_attempt, 105)
    finally:
        for process in kubelet:
            os.kill(process, signal.SIGCONT)
    tenant.wait("trainingjob", "node-lost", lambda s: s.get("state") == "Running", 90)
    tenant.kubectl("delete", "trainingjob", "node-lost", "--wait=false")

    check(case, status)
