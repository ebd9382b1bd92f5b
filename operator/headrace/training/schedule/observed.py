"""What the cluster shows of a TrainingJob with a schedule, as values: its CronJob, the Jobs of that, their trainings.

The Jobs are nobody's to run: `spec.managedBy` keeps Kubernetes' Job controller off them, and the operator makes a
TrainingJob for each and writes its end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from headrace.api.scalars import parse_time
from headrace.api.trainingjob import State, TrainingJob
from headrace.kube.ownership import is_owned
from headrace.kube.resources import Object
from headrace.training.observed import Job, read_job
from headrace.training.states import FINAL_STATES

MANAGER = "headrace.dev/trainingjob"
"""Who carries out such a Job."""


@dataclass(frozen=True)
class CronJob:
    """The CronJob of the schedule. `spec` is as the API server has it."""

    uid: str
    spec: Mapping[str, Any]
    last_schedule_time: datetime | None
    last_successful_time: datetime | None

    @property
    def keeps_manager(self) -> bool:
        """An API server that does not know `managedBy` leaves it out, and the Job controller would run the Jobs."""
        return bool(self.spec["jobTemplate"]["spec"].get("managedBy") == MANAGER)


@dataclass(frozen=True)
class Training:
    """The TrainingJob of one of the Jobs."""

    name: str
    state: State | None = None
    reason: str = ""
    message: str = ""
    started_at: datetime | None = None
    completed_at: datetime | None = None
    metric: str = "-"
    model: str = "-"

    @property
    def is_over(self) -> bool:
        """It trains no more; a version of it may still wait for a person."""
        return self.state in FINAL_STATES


@dataclass(frozen=True)
class Refusal:
    """The API server took no TrainingJob for the Job. `for_good`: it would refuse the same one again."""

    message: str
    for_good: bool


@dataclass(frozen=True)
class Run:
    """One of the Jobs, with its training where there is one."""

    job: Job
    made_at: datetime | None
    resource_version: str
    conditions: tuple[Object, ...]
    training: Training | None = None
    refusal: Refusal | None = None

    @property
    def is_over(self) -> bool:
        """Its end has been written."""
        return self.job.complete or self.job.failed

    @property
    def is_held(self) -> bool:
        """Somebody has suspended the Job before it had a training: it gets none until that is taken back."""
        return self.job.suspended and self.training is None and self.job.started_at is None


@dataclass(frozen=True)
class Observed:
    """One look. `complaint`: why the CronJob could make no Job when it was time last; empty where it has made one."""

    cron_job: CronJob | None = None
    runs: tuple[Run, ...] = ()
    complaint: str = ""


def read_cron_job(obj: Object) -> CronJob:
    """A CronJob from its JSON."""
    status = obj.get("status") or {}
    return CronJob(
        uid=obj["metadata"]["uid"],
        spec=obj["spec"],
        last_schedule_time=parse_time(status.get("lastScheduleTime")),
        last_successful_time=parse_time(status.get("lastSuccessfulTime")),
    )


def is_run(obj: Object, cron_job: CronJob) -> bool:
    """Whether the Job is one of this CronJob's that the operator carries out: anybody can write labels."""
    return is_owned(obj, cron_job.uid) and obj["spec"].get("managedBy") == MANAGER


def read_run(obj: Object) -> Run:
    """A Job from its JSON."""
    return Run(
        job=read_job(obj),
        made_at=parse_time(obj["metadata"].get("creationTimestamp")),
        resource_version=obj["metadata"].get("resourceVersion", ""),
        conditions=tuple((obj.get("status") or {}).get("conditions") or ()),
    )


def read_complaint(event: Object | None, runs: tuple[Run, ...]) -> str:
    """What an Event says against a Job of the CronJob, unless a Job was made after it."""
    told = parse_time(event.get("lastTimestamp")) if event is not None else None
    if event is None or told is None or any(run.made_at is not None and run.made_at >= told for run in runs):
        return ""
    return str(event.get("message") or "")


def read_training(obj: Object) -> Training:
    """A TrainingJob that was made for a Job."""
    job = TrainingJob.model_validate(obj)
    status = job.status
    return Training(
        name=job.metadata.name,
        state=status.state,
        reason=status.reason or "",
        message=status.message or "",
        started_at=status.start_time,
        completed_at=status.completion_time,
        metric=status.columns.metric,
        model=status.columns.model,
    )
