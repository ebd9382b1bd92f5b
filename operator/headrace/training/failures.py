"""Finds the cause of a failed attempt in its pods (pure).

The Job's condition is a hint only: with workers that fail within the same second the controller may blame the victim
and delete the culprit. The cause is the earliest failure, by the millisecond times in the launchers' records, of a
worker that did not merely lose a peer. What has no record is judged by what the kubelet and the conditions say.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from headrace import sandbox
from headrace.api.common import FailureClass
from headrace.training.hints import HINTS, MISSING_CLAIM
from headrace.training.observed import Job, Pod, PodPhase, SideContainer, Terminated
from headrace.training.states import Reason
from headrace_common.protocol.report import Outcome, Record

# A pod that should be gone is waited for this long after its grace period; then its node is taken for lost.
LOST_AFTER = timedelta(seconds=45)
# How far the clocks of a node and of the API server are let differ.
CLOCK_SKEW = timedelta(seconds=5)

_DISRUPTIONS = {
    "EvictionByEvictionAPI": Reason.EVICTED,
    "TerminationByKubelet": Reason.EVICTED,
    "PreemptionByScheduler": Reason.PREEMPTED,
    "DeletionByTaintManager": Reason.NODE_LOST,
    "DeletionByPodGC": Reason.NODE_LOST,
}
_IMAGE_REASONS = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "ImageInspectError", "RegistryUnavailable"}
)
_CONTAINER_REASONS = frozenset({"CreateContainerConfigError", "CreateContainerError"})
_START_REASONS = frozenset({"StartError", "ContainerCannotRun", "RunContainerError"})

_CLASSES = {known.value: known for known in FailureClass}


@dataclass(frozen=True)
class Cause:
    """Why an attempt failed. `at` orders the causes of several workers."""

    failure_class: FailureClass
    reason: str
    message: str
    at: datetime
    pod: str = ""
    exit_code: int | None = None
    log_tail: str = ""
    hint: str = ""
    container: str = ""  # empty: the trainer

    @property
    def advice(self) -> str:
        """The launcher's own hint, else the one for the reason."""
        return self.hint or HINTS.get(self.reason, "")


@dataclass(frozen=True)
class Waiting:
    """Why pods have not started. `hopeless` ends the attempt at once, otherwise at its start deadline."""

    failure_class: FailureClass
    reason: str
    message: str
    pod: str
    hopeless: bool = False


def is_lost(pod: Pod, now: datetime) -> bool:
    """The pod should have ended some time ago and nothing was heard: its node does not answer."""
    return not pod.is_over and pod.deleted_at is not None and now > pod.deleted_at + LOST_AFTER


def all_over(pods: tuple[Pod, ...], now: datetime) -> bool:
    """No pod of the attempt can still change its record, so that the cause can be told."""
    return all(pod.is_over or is_lost(pod, now) for pod in pods)


def cause_of(job: Job | None, pods: tuple[Pod, ...], now: datetime) -> Cause:
    """The cause of an attempt that failed; call it when `all_over`."""
    if job is not None and job.failed_reason == "DeadlineExceeded":
        return Cause(
            FailureClass.DEADLINE,
            Reason.DEADLINE_EXCEEDED,
            "the attempts ran longer than activeDeadlineSeconds",
            now,
            pod=pods[0].name if pods else "",
        )
    causes = [(pod, cause) for pod in pods if (cause := pod_cause(pod, now)) is not None]
    own = [cause for pod, cause in causes if pod.record is None or pod.record.lost_peer is None]
    # A worker that was told to stop is the cause only if nobody failed before it was.
    if first := min(own, key=lambda cause: cause.at, default=None):
        return first
    if causes:
        return min((cause for _, cause in causes), key=lambda cause: cause.at)
    if job is None:
        return Cause(
            FailureClass.DISRUPTED, Reason.JOB_DELETED, "the Job of the attempt was deleted, and not by Headrace", now
        )
    if len(pods) == 0 or job.failed:
        return Cause(
            FailureClass.DISRUPTED,
            Reason.POD_DELETED,
            f"a pod was removed before its result could be read; its Job says: {job.failed_message or 'nothing'}",
            now,
        )
    return Cause(
        FailureClass.KILLED, Reason.NO_RECORD, "the attempt ended, and none of its pods reports a failure", now
    )


def pod_cause(pod: Pod, now: datetime) -> Cause | None:
    """What made this pod fail; None when it did not."""
    record, ended = pod.record, pod.terminated
    if has_trained(pod):
        return _by_side_container(pod, now)
    if pod.disruption:
        reason = _DISRUPTIONS.get(pod.disruption, Reason.EVICTED)
        message = pod.message or (record.message if record else "") or f"the pod was removed: {pod.disruption}"
        at = _earliest(record, pod.disrupted_at, now)
        return Cause(FailureClass.DISRUPTED, reason, message, at, pod.name, ended.exit_code if ended else None)
    if pod.reason == "Evicted":
        return Cause(FailureClass.STORAGE, Reason.STORAGE_LIMIT, pod.message, _earliest(record, None, now), pod.name)
    if _is_out_of_memory(ended) and not (record and record.failure_class == FailureClass.OOM):
        message = "the container was killed because it used more memory than resources.limits.memory"
        return _by_kubelet(pod, ended, record, FailureClass.OOM, Reason.OUT_OF_MEMORY, message, now)
    if record is not None and record.outcome in (Outcome.FAILED, Outcome.INTERRUPTED):
        return _by_record(pod, record)
    if ended is not None and ended.exit_code != 0:
        return _unrecorded(pod, ended, record, now)
    if is_lost(pod, now):
        message = f"node {pod.node or '(unknown)'} does not respond, and its pod did not terminate"
        return Cause(FailureClass.DISRUPTED, Reason.NODE_LOST, message, pod.deleted_at or now, pod.name)
    if by_side := _by_side_container(pod, now):
        return by_side
    if pod.phase is PodPhase.FAILED and ended is None:
        message = pod.message or f"the kubelet rejected the pod: {pod.reason or 'it gives no reason'}"
        reason, hint = pod.reason or Reason.POD_REFUSED, HINTS[Reason.POD_REFUSED]
        return Cause(FailureClass.DISRUPTED, reason, message, now, pod.name, hint=hint)
    if pod.index == 0 and ended is not None and record is None and not _ended_by_deletion(pod, ended):
        return without_record(pod, now)
    if pod.deleted_at is not None:
        began = _deletion_began(pod) or now
        return Cause(FailureClass.DISRUPTED, Reason.POD_DELETED, "the pod was deleted", began, pod.name)
    return None


def without_record(chief: Pod | None, now: datetime) -> Cause:
    """An end with exit code 0 that no launcher speaks of is no success: nobody knows what was trained."""
    return Cause(
        FailureClass.CONFIG,
        Reason.NO_RECORD,
        "the container ended with exit code 0, but Headrace's launcher did not run in it or left no record",
        now,
        pod=chief.name if chief else "",
        exit_code=0,
        hint=HINTS[Reason.COMMAND_NOT_FOUND],
    )


def has_trained(pod: Pod) -> bool:
    """The trainer ended well, by its own record and by the kubelet."""
    record = pod.record
    return record is not None and record.outcome is Outcome.SUCCEEDED and not _is_out_of_memory(pod.terminated)


def _is_out_of_memory(ended: Terminated | None) -> bool:
    return ended is not None and ended.reason == "OOMKilled"


def _deletion_began(pod: Pod) -> datetime | None:
    return pod.deleted_at - timedelta(seconds=pod.grace_seconds) if pod.deleted_at is not None else None


def _ended_by_deletion(pod: Pod, ended: Terminated) -> bool:
    """The container ended after somebody deleted the pod; where the kubelet gives no time, for that reason."""
    began = _deletion_began(pod)
    return began is not None and (ended.finished_at is None or ended.finished_at >= began - CLOCK_SKEW)


def _by_side_container(pod: Pod, now: datetime) -> Cause | None:
    """The first container beside the trainer that ended badly of its own accord: with it the whole pod failed."""
    if pod.disruption or pod.reason == "Evicted":
        return None
    failed = [
        (side, side.terminated)
        for side in pod.sides
        if side.terminated is not None
        and side.terminated.exit_code != 0
        and not _ended_by_deletion(pod, side.terminated)
    ]
    if not failed:
        return None
    side, ended = min(failed, key=lambda found: found[1].finished_at or now)
    return Cause(
        FailureClass.USER_CODE,
        Reason.CONTAINER_FAILED,
        _end_of(side, ended),
        ended.finished_at or now,
        pod.name,
        ended.exit_code,
        container=side.name,
    )


def _end_of(side: SideContainer, ended: Terminated) -> str:
    kind = "init container" if side.is_init else "container"
    why = f" ({ended.reason})" if ended.reason not in ("", "Error") else ""
    said = f": {ended.message.strip()[-512:]}" if ended.message.strip() else ""
    return f"{kind} {side.name!r} ended with exit code {ended.exit_code}{why}{said}"


def _by_record(pod: Pod, record: Record) -> Cause:
    return Cause(
        _class_of(record),
        record.reason or (Reason.POD_DELETED if record.outcome is Outcome.INTERRUPTED else Reason.NO_RECORD),
        record.message or "the launcher's record has no message",
        datetime.fromtimestamp(record.time_ms / 1000, tz=UTC),
        pod.name,
        record.exit_code if record.exit_code is not None else (pod.terminated.exit_code if pod.terminated else None),
        record.log_tail,
        record.hint,
    )


def _class_of(record: Record) -> FailureClass:
    if known := _CLASSES.get(record.failure_class):
        return known
    return FailureClass.DISRUPTED if record.outcome is Outcome.INTERRUPTED else FailureClass.KILLED


def _unrecorded(pod: Pod, ended: Terminated, record: Record | None, now: datetime) -> Cause:
    if ended.reason in _START_REASONS or (ended.exit_code in (126, 127) and record is None):
        message = ended.message or "the container's command could not be started"
        return _by_kubelet(pod, ended, record, FailureClass.CONFIG, Reason.COMMAND_NOT_FOUND, message, now)
    if _ended_by_deletion(pod, ended):
        return _by_kubelet(pod, ended, record, FailureClass.DISRUPTED, Reason.POD_DELETED, "the pod was deleted", now)
    if ended.exit_code in (137, 143) or record is not None:
        how = "was ended by a signal" if ended.exit_code > 128 else "ended"
        message = f"the process {how} (exit code {ended.exit_code}) and left no record of the cause"
        return _by_kubelet(pod, ended, record, FailureClass.KILLED, Reason.PROCESS_KILLED, message, now)
    message = ended.message[-1024:] or f"the container ended with exit code {ended.exit_code}"
    return _by_kubelet(pod, ended, record, FailureClass.USER_CODE, Reason.SCRIPT_EXITED, message, now)


def _by_kubelet(
    pod: Pod,
    ended: Terminated | None,
    record: Record | None,
    failure_class: FailureClass,
    reason: str,
    message: str,
    now: datetime,
) -> Cause:
    at = (ended.finished_at if ended else None) or now
    return Cause(
        failure_class,
        reason,
        message,
        at,
        pod.name,
        ended.exit_code if ended else None,
        record.log_tail if record else "",
    )


def _earliest(record: Record | None, other: datetime | None, now: datetime) -> datetime:
    times = [other] if other else []
    if record is not None and record.outcome in (Outcome.FAILED, Outcome.INTERRUPTED):
        times.append(datetime.fromtimestamp(record.time_ms / 1000, tz=UTC))
    return min(times, default=now)


def waiting_for(pods: tuple[Pod, ...], now: datetime) -> Waiting | None:
    """What keeps the pods from starting, the worst first; None when nothing does."""
    found = [reason for pod in pods if (reason := _pod_waiting(pod, now)) is not None]
    return min(found, key=lambda waiting: not waiting.hopeless, default=None)


def _pod_waiting(pod: Pod, now: datetime) -> Waiting | None:
    if pod.is_over or pod.deleted_at is not None:
        return None
    reason, message = pod.waiting_reason, pod.waiting_message
    if reason == "InvalidImageName":
        return Waiting(FailureClass.CONFIG, Reason.INVALID_IMAGE_NAME, message or reason, pod.name, hopeless=True)
    if reason in _START_REASONS:
        return Waiting(FailureClass.CONFIG, Reason.COMMAND_NOT_FOUND, message or reason, pod.name, hopeless=True)
    if reason in _IMAGE_REASONS:
        return Waiting(FailureClass.IMAGE, Reason.IMAGE_PULL, _kubelets(reason, message), pod.name)
    if reason in _CONTAINER_REASONS:
        return Waiting(FailureClass.CONFIG, Reason.CONTAINER_CONFIG, _kubelets(reason, message), pod.name)
    if reason == "CrashLoopBackOff":  # only a native sidecar is started again
        return Waiting(FailureClass.USER_CODE, Reason.CONTAINER_FAILED, _kubelets(reason, message), pod.name)
    if pod.unschedulable and not pod.node and MISSING_CLAIM.search(pod.unschedulable):
        return Waiting(FailureClass.CONFIG, Reason.VOLUMES_NOT_READY, pod.unschedulable, pod.name)
    if pod.unschedulable and not pod.node:
        return Waiting(FailureClass.SCHEDULING, Reason.UNSCHEDULABLE, pod.unschedulable, pod.name)
    if is_unprepared(pod, now) and pod.no_sandbox:
        what = sandbox.not_created(pod.node, pod.no_sandbox)
        return Waiting(FailureClass.CONFIG, Reason.SANDBOX_NOT_CREATED, what, pod.name)
    if is_unprepared(pod, now):
        return Waiting(FailureClass.CONFIG, Reason.VOLUMES_NOT_READY, sandbox.not_prepared(pod.node), pod.name)
    return None


def _kubelets(reason: str, message: str) -> str:
    return f"{reason}: {message}" if message else reason


def is_unprepared(pod: Pod, now: datetime) -> bool:
    """The kubelet has had the pod for a while and not come to its containers. Pulling images comes after that."""
    if not pod.node or pod.is_prepared or pod.container_running or pod.scheduled_at is None:
        return False
    return now > pod.scheduled_at + sandbox.PREPARED_WITHIN
