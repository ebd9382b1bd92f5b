"""Bounds how long containers beside the trainer may keep its pod from ending (pure).

A plain side container that never exits (a log shipper, a proxy) keeps its pod `Running` after the training is over: the
Job neither completes nor fails, and the node's GPUs stay taken. After a grace the attempt's Job is deleted; what the
trainers left in their records then decides the attempt, as after every other end. A native sidecar needs none of this.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from headrace.training.failures import all_over, has_trained, pod_cause
from headrace.training.observed import Pod
from headrace_common.protocol.report import Record

# Time to ship the last lines of a log.
SIDE_GRACE = timedelta(seconds=60)
HINT = (
    "make it a native sidecar in podTemplate (an init container with restartPolicy Always), which Kubernetes stops "
    "together with the trainer"
)


def held_up(pods: tuple[Pod, ...]) -> Pod | None:
    """The first pod whose trainer ended and whose side container goes on."""
    return next((pod for pod in pods if pod.held_up_by is not None), None)


def overstayed(pods: tuple[Pod, ...], now: datetime) -> Pod | None:
    """A pod that is held up for too long, where nothing more can come of the attempt.

    That is when every trainer ended, or one ended badly: the others cannot go on without it.
    """
    nothing_to_come = all_over(pods, now)
    return next((pod for pod in pods if (nothing_to_come or pod_cause(pod, now)) and _is_late(pod, now)), None)


def record_of_success(pods: tuple[Pod, ...], workers: int) -> Record | None:
    """The chief's record where every worker's trainer ended well, whatever became of the Job and of side containers."""
    trained = {pod.index: pod.record for pod in pods if has_trained(pod)}
    return trained[0] if trained.keys() == set(range(workers)) else None


def _is_late(pod: Pod, now: datetime) -> bool:
    if pod.held_up_by is None or pod.terminated is None:
        return False
    return pod.terminated.finished_at is None or now > pod.terminated.finished_at + SIDE_GRACE
