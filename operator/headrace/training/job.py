"""Renders the objects of one attempt: the Indexed Job, its headless Service, the pinned copy of the script (pure).

An attempt's objects are created once and never re-applied: a new release of the operator changes no running training.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from headrace.api.frameworks import FRAMEWORKS
from headrace.api.trainingjob import Checkpoint, ResumeMode, TrainingJob
from headrace.kube.ownership import controller_reference
from headrace.kube.resources import TRAININGJOBS
from headrace.labels import (
    ATTEMPT,
    MANAGED_BY,
    MANAGED_BY_HEADRACE,
    QUEUE,
    RECORD_FINALIZER,
    TRAINING_JOB,
    TRAINING_JOB_UID,
)
from headrace.overlay import overlay
from headrace.podsecurity import container_security, pod_security
from headrace.podtext import as_written
from headrace.settings import Settings
from headrace.tracking.ledger import experiment_name
from headrace.training import spark, tables
from headrace.training.deadline import name_deadline
from headrace.training.gpus import SHARED_MEMORY, gpus_of, needs_shared_memory
from headrace.training.inputs import volumes_of
from headrace.training.observed import TRAINER_CONTAINER, Object, Source
from headrace.training.stages import Part, datasets_uri, told_to_launchers
from headrace_common.protocol import PROGRESS_PORT
from headrace_common.protocol import config as protocol
from headrace_common.protocol.storage import Storage
from headrace_common.protocol.tuning import PORT as TRIALS_PORT

# Of the pod's grace period: until the launcher hears of it, and until the kubelet has seen its end.
GRACE_MARGIN_SECONDS = 5


@dataclass(frozen=True)
class AttemptContext:
    """What an attempt needs beyond the spec: found out before it starts, pinned in status."""

    number: int
    image: str
    experiment_id: str = ""
    bucket: str = ""
    remaining_seconds: int | None = None  # of activeDeadlineSeconds, at least 1


def attempt_name(job_name: str, number: int) -> str:
    """The name of an attempt's Job and Service."""
    return f"{job_name}-{number}"


def render_network_policy(job: TrainingJob, settings: Settings) -> Object:
    """Who may reach a job's pods: they each other, and the operator /progress. TensorFlow's server between workers asks
    nobody who he is and runs what it is given. Policies add up: one beside it can let more in.
    """
    workers = {"matchLabels": {TRAINING_JOB_UID: job.metadata.uid}}
    ports = (PROGRESS_PORT,) if job.spec.tuning is None else (PROGRESS_PORT, TRIALS_PORT)
    operator = {"matchLabels": {"kubernetes.io/metadata.name": settings.operator_namespace}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": _metadata(job, job.metadata.name),
        "spec": {
            "podSelector": workers,
            "policyTypes": ["Ingress"],
            "ingress": [
                {"from": [{"podSelector": workers}]},
                {
                    "from": [{"namespaceSelector": operator}],
                    "ports": [{"protocol": "TCP", "port": port} for port in ports],
                },
            ],
        },
    }


def render_source(part: Part, source: Source) -> Object:
    """An immutable copy of the script's ConfigMap: every attempt runs the code that the first one ran."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(part.job, part.source_copy),
        "immutable": True,
        "data": dict(source.files),
    }


def render_service(part: Part, number: int) -> Object:
    """The headless Service that gives the workers of an attempt their names, before they are ready."""
    job = part.job
    name = attempt_name(job.metadata.name, number)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(job, name, {ATTEMPT: str(number)}),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {TRAINING_JOB_UID: job.metadata.uid, ATTEMPT: str(number)},
            "ports": [{"name": name, "port": port} for name, port in _ports(part).items()],
        },
    }


def render_job(part: Part, context: AttemptContext, settings: Settings) -> Object:
    """The Indexed Job of an attempt: all workers, no retries of its own, the cause of an end kept in the pods."""
    job = part.job
    name = attempt_name(job.metadata.name, context.number)
    workers = part.strategy.workers
    queue = {QUEUE: job.metadata.labels[QUEUE]} if QUEUE in job.metadata.labels else {}
    body: Object = {
        "completionMode": "Indexed",
        "completions": workers,
        "parallelism": workers,
        "backoffLimit": 0,
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": {"rules": [{"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget"}]}]},
        "suspend": bool(queue),
        "template": overlay(_pod_template(part, context, settings, name), job.spec.pod_template),
    }
    if context.remaining_seconds is not None:
        body["activeDeadlineSeconds"] = context.remaining_seconds
    _protect(body["template"], job, context.number)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": _metadata(job, name, {ATTEMPT: str(context.number), **queue}),
        "spec": body,
    }


def _ports(part: Part) -> dict[str, int]:
    """The ports of a pod by their names."""
    if part.tunes is not None:
        return {"trials": part.tunes.port, "progress": PROGRESS_PORT}
    rendezvous = FRAMEWORKS[part.framework].rendezvous
    return {rendezvous.name: rendezvous.port, "progress": PROGRESS_PORT}


def launcher_config(part: Part, context: AttemptContext, settings: Settings) -> protocol.Config:
    """What the launcher of each pod of an attempt is told. Nothing secret is in it."""
    spec, metadata = part.job.spec, part.job.metadata
    storage, tracking, bucket = settings.storage, settings.tracking, context.bucket
    return protocol.Config(
        job=protocol.Job(metadata.namespace, metadata.name, metadata.uid, context.number),
        framework=str(part.framework),
        strategy=str(part.strategy.type),
        gpus=gpus_of(part.resources),
        workers=_workers(part, context.number),
        source=Path("/headrace/source"),
        entrypoint="" if part.tunes is not None else part.entrypoint,
        parameters=dict(part.parameters),
        datasets=part.datasets,
        storage=None if storage is None else Storage(storage.endpoint, storage.region),
        tracking=None
        if spec.tracking is None or tracking is None
        else protocol.Tracking(
            tracking.url, experiment_name(metadata.namespace, spec.tracking.experiment), context.experiment_id
        ),
        checkpoints=_checkpoints(spec.checkpoint, _checkpoints_uri(bucket, part.checkpoints))
        if bucket and part.checkpoints
        else None,
        formats=part.formats,
        optional_formats=part.optional_formats,
        progress_port=PROGRESS_PORT,
        keeps_rows=part.keeps_rows,
        stage=told_to_launchers(part.stage),
        prepare=_prepare(part, context, settings),
        evaluate=part.judges,
        tuning=part.tunes,
        held_out=part.held_out,
        shared_inputs=f"{_checkpoints_uri(bucket, part.shares_inputs)}/inputs" if bucket and part.shares_inputs else "",
    )


def _prepare(part: Part, context: AttemptContext, settings: Settings) -> protocol.Prepare | None:
    if not part.makes:
        return None
    return protocol.Prepare(
        part.makes,
        datasets_uri(context.bucket, part.makes),
        context.image,
        tables.told_to_launchers(part.tables),
        spark.told_to_launchers(part, context.number, context.image, context.bucket, settings),
    )


def _workers(part: Part, number: int) -> protocol.Workers:
    metadata, name = part.job.metadata, attempt_name(part.job.metadata.name, number)
    count = part.strategy.workers
    names = (f"{name}-{index}.{name}.{metadata.namespace}.svc.cluster.local." for index in range(count))
    return protocol.Workers(
        count=count,
        port=FRAMEWORKS[part.framework].rendezvous.port,
        addresses=tuple(names) if count > 1 else (),
        name_deadline=name_deadline(part.job.spec),
    )


def _checkpoints_uri(bucket: str, name: str) -> str:
    return f"s3://{bucket}/headrace/checkpoints/{name}"


def _checkpoints(spec: Checkpoint, uri: str) -> protocol.Checkpoints:
    replay = 0.0 if spec.resume is ResumeMode.FAST else spec.max_replay.total_seconds()
    return protocol.Checkpoints(uri, spec.interval.total_seconds(), spec.keep, replay)


def _pod_template(part: Part, context: AttemptContext, settings: Settings, subdomain: str) -> Object:
    spec = part.job.spec
    grace_seconds = math.ceil(spec.checkpoint.grace_period.total_seconds())
    env: list[Object] = [
        {"name": protocol.VARIABLE, "value": launcher_config(part, context, settings).as_text()},
        {"name": "HEADRACE_GRACE_SECONDS", "value": str(grace_seconds - GRACE_MARGIN_SECONDS)},
    ]
    if settings.package_index_url:  # uv's name for it
        env.append({"name": "UV_DEFAULT_INDEX", "value": settings.package_index_url})
    env += tables.masking_key(part.tables)
    env += spark.driver_environment(part)
    mounts: list[Object] = [
        {"name": "work", "mountPath": "/headrace/work"},
        {"name": "data", "mountPath": "/data"},
        {"name": "tmp", "mountPath": "/tmp"},
    ]
    volumes: list[Object] = [{"name": name, "emptyDir": {}} for name in ("work", "data", "tmp")]
    for volume, mount in volumes_of(part.datasets):
        volumes.append(volume)
        mounts.append(mount)
    if part.source.config_map is not None and part.tunes is None:
        mounts.append({"name": "source", "mountPath": "/headrace/source", "readOnly": True})
        volumes.append({"name": "source", "configMap": {"name": part.source_copy}})
    if needs_shared_memory(part):
        mounts.append({"name": "shared-memory", "mountPath": SHARED_MEMORY})
        volumes.append({"name": "shared-memory", "emptyDir": {"medium": "Memory"}})
    container: Object = {
        "name": TRAINER_CONTAINER,
        "image": context.image,
        "imagePullPolicy": settings.image_pull_policy,
        "env": env,
        "ports": [
            *({"name": name, "containerPort": port} for name, port in _ports(part).items()),
        ],
        "volumeMounts": mounts,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": container_security(),
    }
    if resources := {kind: value for kind, value in part.resources.model_dump().items() if value}:
        container["resources"] = resources
    pod: Object = {
        "subdomain": subdomain,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": grace_seconds,
        "securityContext": pod_security(),
        "containers": [container],
        "volumes": volumes,
    }
    if spec.storage is not None:
        container["envFrom"] = [{"secretRef": {"name": spec.storage.secret_ref.name}}]
    if settings.image_pull_secrets:
        pod["imagePullSecrets"] = [{"name": name} for name in settings.image_pull_secrets]
    if spec.service_account_name:
        pod["serviceAccountName"] = spec.service_account_name
    if part.spark is not None:  # who makes pods has to prove who he is
        pod |= {"serviceAccountName": part.spark.service_account_name, "automountServiceAccountToken": True}
    return {"metadata": {}, "spec": as_written(pod)}


def _protect(template: Object, job: TrainingJob, number: int) -> None:
    """Set, after the user's overlay, what the operator's bookkeeping rests on."""
    metadata = template.setdefault("metadata", {})
    metadata["labels"] = {
        **(metadata.get("labels") or {}),
        MANAGED_BY: MANAGED_BY_HEADRACE,
        TRAINING_JOB: job.metadata.name,
        TRAINING_JOB_UID: job.metadata.uid,
        ATTEMPT: str(number),
    }
    metadata["finalizers"] = [RECORD_FINALIZER]
    template["spec"]["restartPolicy"] = "Never"


def _metadata(job: TrainingJob, name: str, labels: dict[str, str] | None = None) -> Object:
    return {
        "name": name,
        "namespace": job.metadata.namespace,
        "labels": {MANAGED_BY: MANAGED_BY_HEADRACE, TRAINING_JOB: job.metadata.name, **(labels or {})},
        "ownerReferences": [controller_reference(TRAININGJOBS, job.metadata.name, job.metadata.uid)],
    }
