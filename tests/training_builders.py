"""TrainingJobs, Jobs and pods as the API server shows them: only what a test names differs from a healthy one."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from headrace.api.trainingjob import TrainingJob
from headrace.settings import Settings, StorageSettings, TrackingSettings
from headrace.training.observed import Job, Pod, read_job, read_pod
from runtime_builders import runtimes

NOW = datetime(2030, 1, 1, 12, 0, 0, tzinfo=UTC)
UID = "6f1c0000-0000-0000-0000-000000000001"

SETTINGS = Settings(
    operator_namespace="headrace-system",
    namespaces=(),
    trainer_image="headrace/trainer:1",
    image_pull_policy="IfNotPresent",
    storage=StorageSettings("http://s3:7070", "us-east-1"),
    tracking=TrackingSettings("http://mlflow:5000", "http://localhost:5000", "admin", "secret"),
    health_port=0,
    approvals_enforced=True,
    runtimes=runtimes(),
)


PREPARE: dict[str, Any] = {
    "type": "Script",
    "entrypoint": "prepare.py",
    "parameters": {"vocabulary": 10000},
    "datasets": [{"name": "raw", "uri": "s3://team-a/raw/"}],
    "output": {"name": "corpus"},
}
"""A stage of preparation, for a spec."""

SPARK: dict[str, Any] = {
    "type": "Spark",
    "entrypoint": "prepare.py",
    "datasets": [{"name": "raw", "uri": "s3://team-a/raw/"}],
    "spark": {
        "executors": 3,
        "executorResources": {"requests": {"cpu": "500m"}, "limits": {"cpu": "1500m", "memory": "4Gi"}},
        "conf": {"spark.sql.shuffle.partitions": "64"},
    },
    "resources": {"limits": {"memory": "2Gi"}},
    "output": {"name": "corpus"},
}
"""A preparation by Spark, for a spec."""

DECLARED: dict[str, Any] = {
    "type": "Tables",
    "datasets": [{"name": "raw", "uri": "s3://team-a/raw/"}],
    "tables": {
        "dataset": "raw",
        "path": "2026/",
        "schema": {
            "columns": [
                {"name": "age", "type": "Integer", "min": "0", "max": "130"},
                {"name": "city", "type": "Text", "nullable": True, "oneOf": ["Ulm", "Bonn"], "matches": "^[A-Z]"},
            ]
        },
        "privacy": {
            "keySecretRef": {"name": "masking", "key": "key"},
            "columns": [{"name": "email", "action": "Drop"}, {"name": "patient", "action": "Hash"}],
            "detect": "Refuse",
            "region": "DE",
        },
        "split": {"train": "0.8", "validation": "0.1", "test": "0.1", "seed": 7, "group": "patient"},
        "balance": {"column": "city", "method": "Oversample"},
    },
    "output": {"name": "corpus"},
}
"""A stage of preparation without a script: all is declared."""

HEX = "9c1e" + "0" * 60
MADE: dict[str, Any] = {
    "name": "corpus",
    "uri": f"s3://team-a/headrace/datasets/corpus/{HEX}/",
    "digest": f"sha256:{HEX}",
    "files": 3,
    "bytes": 1048576,
    "madeBy": "team-a/text",
    "reused": False,
}
"""What its record says of the dataset that it made."""


EVALUATE: dict[str, Any] = {
    "task": "Classification",
    "data": {"dataset": "heldout", "path": "test.parquet", "label": "species"},
    "datasets": [{"name": "heldout", "uri": "s3://team-a/heldout/"}],
    "slices": ["region"],
    "sensitive": ["sex"],
    "baseline": {"alias": "champion"},
    "gates": [
        {"metric": "accuracy", "min": "0.9", "maxRegression": "0.02"},
        {"metric": "accuracy", "slice": "region=north", "min": "0.8"},
        {"metric": "equalized_odds_difference", "slice": "sex", "max": "0.1"},
    ],
}
"""A stage of evaluation, for a spec; what it needs beside it is JUDGED."""
JUDGED: dict[str, Any] = {
    "evaluate": EVALUATE,
    "output": {"model": "text", "alias": "candidate"},
    "tracking": {"experiment": "x"},
}
MODEL: dict[str, Any] = {
    "uri": "s3://team-a/mlflow/x/r1/artifacts/model/attempt-1",
    "digest": "sha256:5d41" + "0" * 60,
    "formats": ["TensorFlow", "ONNX"],
}
"""What a training's record says of the model that it made."""
BASELINE: dict[str, Any] = {
    "alias": "champion",
    "version": "6",
    "digest": "sha256:7d79" + "0" * 60,
    "uri": "s3://team-a/mlflow/x/r0/artifacts/model/attempt-1",
}
"""What the status has of the version that it is compared with."""
REPORT: dict[str, Any] = {"digest": MODEL["digest"], "baselineDigest": BASELINE["digest"], "samples": 1200}
"""What the record of an evaluation says of what it judged."""


def stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def training_job(status: dict[str, Any] | None = None, workers: int = 2, **spec: Any) -> TrainingJob:
    strategy = {"type": "MultiWorkerMirrored", "workers": workers} if workers > 1 else {"type": "SingleWorker"}
    return TrainingJob.model_validate(
        {
            "metadata": {
                "name": "text",
                "namespace": "team-a",
                "uid": UID,
                "generation": 1,
                "creationTimestamp": stamp(NOW - timedelta(seconds=5)),
            },
            "spec": {"source": {"configMap": {"name": "code"}}, "entrypoint": "train.py", "strategy": strategy} | spec,
            "status": status or {},
        }
    )


def job_object(name: str = "text-1", conditions: tuple[tuple[str, str], ...] = (), **status: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "name": name,
            "uid": f"uid-of-{name}",
            "ownerReferences": [{"uid": UID, "controller": True, "kind": "TrainingJob"}],
        },
        "spec": {"suspend": False},
        "status": {
            "startTime": stamp(NOW - timedelta(seconds=60)),
            "conditions": [{"type": kind, "status": "True", "reason": reason} for kind, reason in conditions],
        }
        | status,
    }


def batch_job(name: str = "text-1", conditions: tuple[tuple[str, str], ...] = (), **status: Any) -> Job:
    return read_job(job_object(name, conditions, **status))


def record(outcome: str, at: datetime, **fields: Any) -> str:
    return json.dumps({"protocol": 1, "outcome": outcome, "time": int(at.timestamp() * 1000)} | fields)


def pod(
    index: int = 0,
    phase: str = "Running",
    *,
    attempt: int = 1,
    exit_code: int | None = None,
    reason: str = "",
    message: str = "",
    finished_at: datetime = NOW,
    waiting: tuple[str, str] | None = None,
    conditions: tuple[dict[str, str], ...] = (),
    node: str = "node-1",
    deleted_at: datetime | None = None,
    pod_reason: str = "",
    pod_message: str = "",
    inits: tuple[dict[str, Any], ...] = (),
    sides: tuple[dict[str, Any], ...] = (),
    native: tuple[str, ...] = (),
) -> Pod:
    """A pod whose trainer runs, waits, or ended with `exit_code`; `message` is its termination message.

    `inits` and `sides` are statuses of other containers (`container` makes them), `native` the init containers among
    them that have restartPolicy Always.
    """
    state: dict[str, Any] = {"running": {}}
    if waiting:
        state = {"waiting": {"reason": waiting[0], "message": waiting[1]}}
    if exit_code is not None:
        state = ended(exit_code, finished_at, message, reason)
    statuses = [{"name": "trainer", "state": state, "imageID": "sha256:1"}] if node else []
    if phase in ("Failed", "Succeeded") and exit_code is None:
        statuses = []
    native_spec = [{"name": name, "restartPolicy": "Always"} for name in native]
    return read_pod(
        {
            "metadata": {
                "name": f"text-{attempt}-{index}-abcde",
                "uid": f"pod-{attempt}-{index}",
                "resourceVersion": "7",
                "labels": {"headrace.dev/attempt": str(attempt)},
                "annotations": {"batch.kubernetes.io/job-completion-index": str(index)},
                "ownerReferences": [{"kind": "Job", "name": f"text-{attempt}", "controller": True}],
                "finalizers": ["batch.kubernetes.io/job-tracking", "headrace.dev/record"],
                "deletionTimestamp": stamp(deleted_at) if deleted_at else None,
                "deletionGracePeriodSeconds": 30 if deleted_at else None,
            },
            "spec": {"nodeName": node, "initContainers": native_spec},
            "status": {
                "phase": phase,
                "podIP": "10.0.0.1" if node else "",
                "reason": pod_reason,
                "message": pod_message,
                "conditions": list(conditions),
                "initContainerStatuses": list(inits),
                "containerStatuses": [*statuses, *sides],
            },
        }
    )


def ended(exit_code: int, at: datetime = NOW, message: str = "", reason: str = "") -> dict[str, Any]:
    """The state of a container that ended."""
    return {
        "terminated": {
            "exitCode": exit_code,
            "reason": reason or ("Completed" if exit_code == 0 else "Error"),
            "message": message,
            "finishedAt": stamp(at),
        }
    }


def container(name: str, state: dict[str, Any] | None = None) -> dict[str, Any]:
    """The status of a container beside the trainer; it runs unless told otherwise."""
    return {"name": name, "state": state or {"running": {}}}


def scheduled(at: datetime) -> dict[str, str]:
    return {"type": "PodScheduled", "status": "True", "lastTransitionTime": stamp(at)}


def prepared(yes: bool) -> dict[str, str]:
    """Whether volumes are mounted and the network is set up."""
    return {"type": "PodReadyToStartContainers", "status": "True" if yes else "False"}


def unschedulable(message: str) -> dict[str, str]:
    return {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}


def disruption(reason: str, at: datetime = NOW) -> dict[str, str]:
    return {"type": "DisruptionTarget", "status": "True", "reason": reason, "lastTransitionTime": stamp(at)}
