"""A preparation by Spark, for the launcher in the driver's pod: Spark's properties, and the pod of an executor (pure).

The driver makes the executors' pods with the service account that `spec.prepare.spark` names; the operator makes none.
They have the labels by which the job's NetworkPolicy lets pods reach one another, and not the one by which the operator
finds pods that it made. They belong to the driver's pod, and go with it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal

from headrace.api.common import Resources
from headrace.api.spark import SECRET_NAMES, Spark
from headrace.kube.resources import Object
from headrace.labels import TRAINING_JOB, TRAINING_JOB_UID
from headrace.overlay import overlay
from headrace.podsecurity import container_security, pod_security
from headrace.settings import Settings
from headrace.training.deadline import REPAIR_SECONDS
from headrace.training.observed import TRAINER_CONTAINER
from headrace.training.stages import Part
from headrace_common.protocol import spark as protocol

_MASTER = "k8s://https://kubernetes.default.svc"
_EXECUTOR = ["python3", "-m", "headrace_trainer.launcher.spark.executor"]
_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
# From the pod's environment, from a projected token, from the node: never from a property.
_CREDENTIALS = (
    "software.amazon.awssdk.auth.credentials.EnvironmentVariableCredentialsProvider",
    "software.amazon.awssdk.auth.credentials.WebIdentityTokenFileCredentialsProvider",
    "org.apache.hadoop.fs.s3a.auth.IAMInstanceCredentialsProvider",
)
_DISK = "ephemeral-storage"
_MIB = 1 << 20
_DEFAULT_CPU, _DEFAULT_MEMORY = Decimal(1), 2048
_OUTSIDE_HEAP, _LEAST_OUTSIDE_HEAP = 0.3, 384
_DRIVER_HEAP, _LEAST_DRIVER_HEAP = 0.5, 512
_NAME_LENGTH = 30  # of the 47 that Spark lets the beginning of an executor's name have
_UNITS: Mapping[str, Decimal] = {
    "": Decimal(1),
    "m": Decimal("0.001"),
    **{unit: Decimal(1000) ** power for power, unit in enumerate(("k", "M", "G", "T", "P", "E"), 1)},
    **{unit: Decimal(1024) ** power for power, unit in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)},
}


def told_to_launchers(part: Part, number: int, image: str, bucket: str, settings: Settings) -> protocol.Spark | None:
    """In the protocol's words; None where the part is no program of Spark's."""
    spark = part.spark
    if spark is None:
        return None
    metadata = part.job.metadata
    return protocol.Spark(
        executors=spark.executors,
        settings=_properties(part, spark, number, image, settings),
        conf=spark.conf,
        executor=executor_template(part, spark, settings),
        staging=f"s3://{bucket}/headrace/staging/{metadata.uid}",
        pending_seconds=float(part.job.spec.start_deadline_seconds or REPAIR_SECONDS),
    )


def driver_environment(part: Part) -> list[Object]:
    """What only the pod knows."""
    if part.spark is None:
        return []
    fields = {protocol.POD_NAME: "metadata.name", protocol.POD_ADDRESS: "status.podIP"}
    return [{"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in fields.items()]


def executor_template(part: Part, spark: Spark, settings: Settings) -> Object:
    """What an executor's pod has before Spark adds its own: its rights, where it may write, the keys of the store."""
    spec = part.job.spec
    env: list[Object] = []
    if spec.storage is not None:
        secret = spec.storage.secret_ref.name
        env = [
            {"name": key, "valueFrom": {"secretKeyRef": {"name": secret, "key": key, "optional": True}}}
            for key in _KEYS
        ]
    folders = {"work": "/headrace/work", "tmp": "/tmp"}
    resources = _disk(spark.executor_resources)
    bound = resources.get("limits", {}).get(_DISK)
    pod: Object = {
        "automountServiceAccountToken": False,
        "serviceAccountName": spark.service_account_name,
        "enableServiceLinks": False,
        "restartPolicy": "Never",
        "securityContext": pod_security(),
        "containers": [
            {
                "name": TRAINER_CONTAINER,
                "command": list(_EXECUTOR),
                "env": env,
                "volumeMounts": [{"name": name, "mountPath": path} for name, path in folders.items()],
                "securityContext": container_security(),
                # Of cpu and memory Spark sets them.
                **({"resources": resources} if resources else {}),
            }
        ],
        "volumes": [{"name": name, "emptyDir": {} if bound is None else {"sizeLimit": bound}} for name in folders],
    }
    template: Object = overlay({"metadata": {}, "spec": pod}, spec.pod_template)
    metadata = template.setdefault("metadata", {})
    metadata["labels"] = {
        **(metadata.get("labels") or {}),
        TRAINING_JOB: part.job.metadata.name,
        TRAINING_JOB_UID: part.job.metadata.uid,
    }
    return {"apiVersion": "v1", "kind": "Pod", **template}


def _disk(resources: Resources) -> Object:
    """What is asked for of the node's disk. Spark knows no property for it, and leaves the template's."""
    asked = {"requests": resources.requests, "limits": resources.limits}
    return {kind: {_DISK: str(values[_DISK])} for kind, values in asked.items() if _DISK in values}


def _properties(part: Part, spark: Spark, number: int, image: str, settings: Settings) -> dict[str, str]:
    """Headrace's. Nothing secret is in it: they are in the job's instructions and in the event log."""
    metadata = part.job.metadata
    found = {
        "spark.app.name": f"{metadata.namespace}/{metadata.name}",
        "spark.authenticate": "true",
        "spark.dynamicAllocation.enabled": "false",
        "spark.eventLog.compress": "true",
        "spark.eventLog.enabled": "true",
        "spark.eventLog.rolling.enabled": "false",
        "spark.executor.instances": str(spark.executors),
        "spark.kubernetes.authenticate.executor.serviceAccountName": spark.service_account_name,
        "spark.kubernetes.container.image": image,
        "spark.kubernetes.container.image.pullPolicy": settings.image_pull_policy,
        "spark.kubernetes.driver.ownPersistentVolumeClaim": "false",
        "spark.kubernetes.driver.reusePersistentVolumeClaim": "false",
        "spark.kubernetes.executor.disableConfigMap": "true",
        # A pod that is deleted at once is missed by the watch; work waits for it for so long.
        "spark.kubernetes.executor.missingPodDetectDelta": "10s",
        "spark.kubernetes.executor.podNamePrefix": _name(metadata.name, metadata.uid, number),
        "spark.kubernetes.executor.podTemplateContainerName": TRAINER_CONTAINER,
        "spark.kubernetes.namespace": metadata.namespace,
        "spark.master": _MASTER,
        "spark.redaction.regex": SECRET_NAMES,
        "spark.submit.deployMode": "client",
        "spark.ui.enabled": "true",
        "spark.ui.killEnabled": "false",
        "spark.ui.showConsoleProgress": "false",
    }
    if settings.image_pull_secrets:
        found["spark.kubernetes.container.image.pullSecrets"] = ",".join(settings.image_pull_secrets)
    return found | _of_executor(spark.executor_resources) | _of_driver(part.resources) | _of_store(settings)


def _of_executor(resources: Resources) -> dict[str, str]:
    """Memory is what it asks for and may use, both: Spark knows no difference."""
    asked = {**resources.limits, **resources.requests}
    memory = _mebibytes({**resources.requests, **resources.limits}.get("memory")) or _DEFAULT_MEMORY
    outside = max(_LEAST_OUTSIDE_HEAP, math.ceil(_OUTSIDE_HEAP * memory))
    request = asked.get("cpu", str(_DEFAULT_CPU))
    limit = resources.limits.get("cpu")
    cores = quantity(request if limit is None else limit)
    found = {
        "spark.executor.cores": str(max(1, math.floor(cores))),
        "spark.executor.memory": f"{memory - outside}m",
        "spark.executor.memoryOverhead": f"{outside}m",
        "spark.kubernetes.executor.request.cores": str(request),
    }
    return found if limit is None else found | {"spark.kubernetes.executor.limit.cores": str(limit)}


def _of_driver(resources: Resources) -> dict[str, str]:
    """Java's heap; the rest of the pod's memory is Python's and the launcher's. Without a limit: Spark's default."""
    memory = _mebibytes(resources.limits.get("memory"))
    if memory is None:
        return {}
    return {"spark.driver.memory": f"{max(_LEAST_DRIVER_HEAP, math.floor(_DRIVER_HEAP * memory))}m"}


def _of_store(settings: Settings) -> dict[str, str]:
    storage = settings.storage
    if storage is None:
        return {}
    found = {"aws.credentials.provider": ",".join(_CREDENTIALS), "endpoint.region": storage.region}
    if storage.endpoint:
        is_encrypted = storage.endpoint.startswith("https://")
        found |= {
            "endpoint": storage.endpoint,
            "path.style.access": "true",
            "connection.ssl.enabled": str(is_encrypted).lower(),
        }
    return {f"spark.hadoop.fs.s3a.{name}": value for name, value in found.items()}


def quantity(value: int | str) -> Decimal:
    """Kubernetes' quantity as a number: 500m is 0.5, 1Ki is 1024. The API server has checked how it is written."""
    text = str(value)
    unit = text.lstrip("0123456789.")
    return Decimal(text[: len(text) - len(unit)]) * _UNITS[unit]


def _mebibytes(value: int | str | None) -> int | None:
    return None if value is None else math.floor(quantity(value) / _MIB)


def _name(name: str, uid: str, number: int) -> str:
    """How the executors' pods begin: no other job's and no other attempt's do so."""
    return f"{name[:_NAME_LENGTH].rstrip('-.').replace('.', '-')}-{uid[:8]}-{number}"
