"""What a schedule is made of: its CronJob, a training's TrainingJob, and what is written on a Job (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from headrace.api.scalars import format_time
from headrace.api.trainingjob import Schedule, TrainingJob
from headrace.kube.ownership import controller_reference
from headrace.kube.plan import Patch
from headrace.kube.resources import JOBS, TRAININGJOBS, Object
from headrace.labels import MANAGED_BY, MANAGED_BY_HEADRACE, QUEUE, SCHEDULE
from headrace.podsecurity import container_security, pod_security
from headrace.settings import Settings
from headrace.training.schedule.observed import MANAGER, CronJob, Run

_NOT_MANAGED = (
    "this Job is no program: the operator makes a TrainingJob for it. That this pod runs at all means that the cluster "
    "does not know spec.managedBy of Jobs"
)


@dataclass(frozen=True)
class End:
    """How a Job ended."""

    succeeded: bool
    reason: str
    message: str
    at: datetime


def render_cron_job(job: TrainingJob, schedule: Schedule, settings: Settings) -> Object:
    """The CronJob that keeps the time."""
    labels = {MANAGED_BY: MANAGED_BY_HEADRACE, SCHEDULE: job.metadata.name}
    spec: Object = {
        "schedule": schedule.cron,
        "timeZone": schedule.time_zone,
        "concurrencyPolicy": schedule.concurrency_policy.value,
        "successfulJobsHistoryLimit": schedule.successful_jobs_history_limit,
        "failedJobsHistoryLimit": schedule.failed_jobs_history_limit,
        "suspend": schedule.suspend,
        "jobTemplate": {"metadata": {"labels": labels}, "spec": _job_spec(settings, labels)},
    }
    if schedule.starting_deadline_seconds is not None:
        spec["startingDeadlineSeconds"] = schedule.starting_deadline_seconds
    metadata = {
        "name": job.metadata.name,
        "namespace": job.metadata.namespace,
        "labels": labels,
        "ownerReferences": [controller_reference(TRAININGJOBS, job.metadata.name, job.metadata.uid)],
    }
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": metadata, "spec": spec}


def _job_spec(settings: Settings, labels: Mapping[str, str]) -> Object:
    """A Job needs a pod, also one whose pod is never made."""
    container = {
        "name": "none",
        "image": settings.trainer_image,
        "imagePullPolicy": settings.image_pull_policy,
        "command": ["python3", "-c", f"raise SystemExit({_NOT_MANAGED!r})"],
        "resources": {"requests": {"cpu": "1m", "memory": "16Mi"}, "limits": {"cpu": "100m", "memory": "64Mi"}},
        "securityContext": container_security(),
    }
    pod = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": pod_security(),
        "containers": [container],
    }
    return {
        "managedBy": MANAGER,
        "backoffLimit": 0,
        "template": {"metadata": {"labels": dict(labels)}, "spec": pod},
    }


def differs(found: CronJob, wanted: Object) -> bool:
    """Whether the CronJob has to be written: what the API server has added by itself is no difference."""
    spec = wanted["spec"]
    gone = "startingDeadlineSeconds" in found.spec and "startingDeadlineSeconds" not in spec
    return gone or not _covers(found.spec, spec)


def _covers(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and all(
            name in found and _covers(found[name], part) for name, part in wanted.items()
        )
    if isinstance(wanted, list):
        return (
            isinstance(found, list)
            and len(found) == len(wanted)
            and all(_covers(one, other) for one, other in zip(found, wanted, strict=True))
        )
    return bool(found == wanted)


def render_training(template: Object, run: Run) -> Object:
    """The TrainingJob of a Job: what the template asks for, once. It goes with its Job."""
    metadata = template["metadata"]
    queue = (metadata.get("labels") or {}).get(QUEUE)
    spec = {name: part for name, part in template["spec"].items() if name not in ("schedule", "suspend")}
    return {
        "metadata": {
            "name": run.job.name,
            "namespace": metadata["namespace"],
            "labels": {MANAGED_BY: MANAGED_BY_HEADRACE, SCHEDULE: metadata["name"]} | ({QUEUE: queue} if queue else {}),
            "ownerReferences": [controller_reference(JOBS, run.job.name, run.job.uid)],
        },
        "spec": spec,
    }


def begun(namespace: str, run: Run, now: datetime) -> Patch:
    """The Job has its training."""
    return _patch(namespace, run, {"startTime": format_time(now.replace(microsecond=0))})


def ended(namespace: str, run: Run, end: End) -> Patch:
    """The Job is over. The API server takes its end only with the condition that says it is about to come."""
    started = (run.job.started_at or end.at).replace(microsecond=0)
    at = format_time(max(end.at.replace(microsecond=0), started))
    about, over = ("SuccessCriteriaMet", "Complete") if end.succeeded else ("FailureTarget", "Failed")
    written = [
        {
            "type": kind,
            "status": "True",
            "reason": end.reason,
            "message": end.message,
            "lastProbeTime": at,
            "lastTransitionTime": at,
        }
        for kind in (about, over)
    ]
    others = [condition for condition in run.conditions if condition["type"] not in (about, over)]
    result = {"completionTime": at, "succeeded": 1} if end.succeeded else {"failed": 1}
    return _patch(namespace, run, {"startTime": format_time(started), "conditions": [*others, *written], **result})


def _patch(namespace: str, run: Run, status: Object) -> Patch:
    unchanged = {"uid": run.job.uid, "resourceVersion": run.resource_version}
    return Patch(JOBS, namespace, run.job.name, {"metadata": unchanged, "status": status}, "status")
