"""What the cluster shows of one TrainingJob, as values: the edge where Kubernetes' JSON becomes types.

`plan` sees only these. Reading them from the API server is reconcile.py's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from headrace.labels import ATTEMPT, RECORD_FINALIZER
from headrace.training.record import parse_record
from headrace.training.tuning.trial import Trial
from headrace_common.protocol.report import Live, Record
from headrace_common.protocol.trials import Answer

Object = dict[str, Any]
TRAINER_CONTAINER = "trainer"


class PodPhase(StrEnum):
    """A pod's phase as Kubernetes names it."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    UNKNOWN = "Unknown"


_PHASES = {phase.value: phase for phase in PodPhase}


@dataclass(frozen=True)
class Terminated:
    """How a container ended, by the kubelet."""

    exit_code: int
    reason: str
    message: str
    finished_at: datetime | None


@dataclass(frozen=True)
class SideContainer:
    """A container that podTemplate puts beside the trainer, and whose end decides the pod's.

    A native sidecar (an init container with restartPolicy Always) is none: the kubelet starts it anew as long as the
    trainer runs, stops it afterwards, and asks nothing about how it ended.
    """

    name: str
    is_init: bool
    terminated: Terminated | None


@dataclass(frozen=True)
class Pod:
    """One training pod."""

    name: str
    uid: str
    job: str  # the Job that made it; empty where none did
    index: int
    attempt: int
    phase: PodPhase
    node: str
    ip: str
    image_id: str
    resource_version: str
    finalizers: tuple[str, ...]
    deleted_at: datetime | None  # includes the grace period
    grace_seconds: int
    waiting_reason: str
    waiting_message: str
    terminated: Terminated | None
    record: Record | None
    unschedulable: str  # the scheduler's sentence
    disruption: str  # reason of the DisruptionTarget condition
    disrupted_at: datetime | None
    reason: str  # of the pod itself: Evicted, UnexpectedAdmissionError, ...
    message: str
    container_running: bool
    sides: tuple[SideContainer, ...]
    scheduled_at: datetime | None
    is_prepared: bool  # volumes are mounted and the network is set up: the kubelet may start containers
    no_sandbox: str = ""  # the kubelet's words why it could not set up the pod, where that has lasted

    @property
    def held(self) -> bool:
        """Our finalizer is on it: it stays until its record is taken."""
        return RECORD_FINALIZER in self.finalizers

    @property
    def is_over(self) -> bool:
        """Nothing of this pod runs any more, and its record will not change."""
        if self.phase in (PodPhase.SUCCEEDED, PodPhase.FAILED) or self.terminated is not None:
            return True
        return self.deleted_at is not None and not self.node

    @property
    def held_up_by(self) -> SideContainer | None:
        """What keeps the pod from ending although its trainer did; None where nothing does, or the pod goes anyway."""
        if self.terminated is None or self.phase in (PodPhase.SUCCEEDED, PodPhase.FAILED) or self.deleted_at:
            return None
        return next((side for side in self.sides if not side.is_init and side.terminated is None), None)


@dataclass(frozen=True)
class Job:
    """The batch/v1 Job of an attempt."""

    name: str
    uid: str
    owner_uid: str
    suspended: bool
    deleting: bool
    active: int
    ready: int
    terminating: int
    complete: bool
    failed: bool
    failed_reason: str
    failed_message: str
    started_at: datetime | None


@dataclass(frozen=True)
class Source:
    """The script's ConfigMap: its files by name, and what identifies this content."""

    files: Mapping[str, str] = field(repr=False)
    resource_version: str


@dataclass(frozen=True)
class Observed:
    """All that a plan for one TrainingJob may know."""

    jobs: tuple[Job, ...]  # of all attempts that are still there
    pods: tuple[Pod, ...]  # of all attempts that are still there
    source: Source | None  # None: no such ConfigMap, or the script is in the image
    live: Live | None = None
    strangers: tuple[Pod, ...] = ()  # of an earlier TrainingJob of the same name
    trials: tuple[Trial, ...] = ()  # of a job with spec.tuning
    # Why the model of a trial that may be removed is kept, by the trial's uid; empty: nothing refers to it.
    kept_because: Mapping[str, str] = field(default_factory=dict)
    answer: Answer | None = None  # what the pod of the tuning was asked last and answered
    refusal: str = ""  # why the Job controller could not make pods of the current attempt, where some are missing

    def job(self, name: str) -> Job | None:
        """The Job of that name, if it is there."""
        return next((job for job in self.jobs if job.name == name), None)

    def pods_of(self, attempt: int) -> tuple[Pod, ...]:
        """The pods of one attempt, by index."""
        return tuple(sorted((pod for pod in self.pods if pod.attempt == attempt), key=lambda pod: pod.index))


def ended_at(pods: Iterable[Pod], now: datetime) -> datetime:
    """When the last of these pods' trainers ended; now where the kubelet does not say it of each."""
    times = [pod.terminated.finished_at if pod.terminated else None for pod in pods]
    known = [time for time in times if time is not None]
    return min(max(known), now) if known and len(known) == len(times) else now


def parse_time(text: Any) -> datetime | None:
    """A Kubernetes timestamp (RFC 3339, UTC) as an aware datetime, or None."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")) if isinstance(text, str) and text else None


def read_job(obj: Object) -> Job:
    """A Job from its JSON."""
    metadata, status = obj["metadata"], obj.get("status") or {}
    conditions = {c["type"]: c for c in status.get("conditions") or () if c.get("status") == "True"}
    failed = conditions.get("Failed") or conditions.get("FailureTarget")
    owners = [o["uid"] for o in metadata.get("ownerReferences") or () if o.get("controller")]
    return Job(
        name=metadata["name"],
        uid=metadata["uid"],
        owner_uid=owners[0] if owners else "",
        suspended=bool(obj.get("spec", {}).get("suspend")),
        deleting=bool(metadata.get("deletionTimestamp")),
        active=status.get("active") or 0,
        ready=status.get("ready") or 0,
        terminating=status.get("terminating") or 0,
        complete="Complete" in conditions,
        failed=failed is not None,
        failed_reason=(failed or {}).get("reason") or "",
        failed_message=(failed or {}).get("message") or "",
        started_at=parse_time(status.get("startTime")),
    )


def read_pod(obj: Object) -> Pod:
    """A training pod from its JSON. Labels and annotations may be anybody's: what is no number there counts as 0."""
    metadata, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
    conditions = {c["type"]: c for c in status.get("conditions") or ()}
    container: Object = next((c for c in status.get("containerStatuses") or () if c["name"] == TRAINER_CONTAINER), {})
    state = container.get("state") or {}
    ended = state.get("terminated")
    waiting = {} if ended or "running" in state else _waiting(container, status.get("initContainerStatuses") or ())
    scheduled = conditions.get("PodScheduled") or {}
    disruption = conditions.get("DisruptionTarget") or {}
    disrupted = disruption.get("status") == "True"
    annotations, labels = metadata.get("annotations") or {}, metadata.get("labels") or {}
    phase = status.get("phase") or "Pending"
    return Pod(
        name=metadata["name"],
        uid=metadata["uid"],
        job=next((o["name"] for o in metadata.get("ownerReferences") or () if _is_job(o)), ""),
        index=_number(annotations.get("batch.kubernetes.io/job-completion-index")),
        attempt=_number(labels.get(ATTEMPT)),
        phase=_PHASES.get(phase, PodPhase.UNKNOWN),
        node=spec.get("nodeName") or "",
        ip=status.get("podIP") or "",
        image_id=container.get("imageID") or "",
        resource_version=metadata.get("resourceVersion") or "",
        finalizers=tuple(metadata.get("finalizers") or ()),
        deleted_at=parse_time(metadata.get("deletionTimestamp")),
        grace_seconds=metadata.get("deletionGracePeriodSeconds") or 0,
        waiting_reason=waiting.get("reason") or "",
        waiting_message=waiting.get("message") or "",
        terminated=_terminated(ended) if ended else None,
        record=parse_record((ended or {}).get("message") or ""),
        unschedulable=(scheduled.get("message") or "no node fits") if scheduled.get("status") == "False" else "",
        disruption=disruption.get("reason", "") if disrupted else "",
        disrupted_at=parse_time(disruption.get("lastTransitionTime")) if disrupted else None,
        reason=status.get("reason") or "",
        message=status.get("message") or "",
        container_running="running" in state,
        sides=_sides(spec, status),
        scheduled_at=parse_time(scheduled.get("lastTransitionTime")) if scheduled.get("status") == "True" else None,
        is_prepared=(conditions.get("PodReadyToStartContainers") or {}).get("status") == "True",
    )


def _is_job(owner: Object) -> bool:
    return bool(owner.get("controller")) and owner.get("kind") == "Job"


def _number(text: Any) -> int:
    return int(text) if isinstance(text, str) and re.fullmatch(r"[0-9]{1,9}", text) else 0


def _waiting(trainer: Object, inits: Sequence[Object]) -> Object:
    """What the pod waits for: an init container that cannot start says more than the trainer that comes after it."""
    states = [(container.get("state") or {}).get("waiting") or {} for container in (*inits, trainer)]
    telling = (state for state in states if state.get("reason") not in (None, "PodInitializing", "ContainerCreating"))
    return next(telling, states[-1])


def _sides(spec: Object, status: Object) -> tuple[SideContainer, ...]:
    native = {c["name"] for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"}
    inits = [c for c in status.get("initContainerStatuses") or () if c["name"] not in native]
    others = [c for c in status.get("containerStatuses") or () if c["name"] != TRAINER_CONTAINER]
    return tuple(
        SideContainer(container["name"], is_init, _terminated(ended) if ended else None)
        for containers, is_init in ((inits, True), (others, False))
        for container in containers
        for ended in [(container.get("state") or {}).get("terminated")]
    )


def _terminated(data: Object) -> Terminated:
    return Terminated(
        exit_code=data.get("exitCode") or 0,
        reason=data.get("reason") or "",
        message=data.get("message") or "",
        finished_at=parse_time(data.get("finishedAt")),
    )


def read_source(obj: Object) -> Source:
    """A script's ConfigMap from its JSON. Binary files are no scripts and are left out."""
    return Source(files=obj.get("data") or {}, resource_version=obj["metadata"]["resourceVersion"])
