"""The CRDs on a real API server: what is accepted, what is refused and in which words, what kubectl shows."""

from __future__ import annotations

import copy
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from crds import established
from headrace.api.crd import custom_resource_definition
from headrace.api.kind import API_VERSION
from headrace.api.modelservice import ModelService
from headrace.api.trainingjob import (
    ApprovalState,
    Attempt,
    AttemptOutcome,
    AttemptRecord,
    Columns,
    Condition,
    ConditionStatus,
    Failure,
    FailureClass,
    ModelApproval,
    PreparedDataset,
    Progress,
    Run,
    Stage,
    StageState,
    StageStatus,
    State,
    TrainedModel,
    TrainingJob,
    TrainingJobStatus,
    TrialCounts,
    TrialStatus,
    TuningStatus,
    to_status_dict,
)

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
TRAINING_JOB: dict[str, Any] = {
    "apiVersion": API_VERSION,
    "kind": "TrainingJob",
    "metadata": {"name": "text-generator", "namespace": "default"},
    "spec": {
        "source": {"configMap": {"name": "text-generator"}},
        "image": "",
        "framework": "Keras",
        "entrypoint": "train.py",
        "parameters": {"epochs": 10, "learning_rate": 0.001, "shuffle": True, "seed": "010"},
        "datasets": [
            {"name": "corpus", "uri": "s3://team-a/corpus.txt"},
            {"name": "words", "uri": "https://example.org/words.csv?download=1", "sha256": "0" * 64},
            {"name": "images", "persistentVolumeClaim": {"claimName": "images", "path": "2026/05"}},
            {"name": "sounds", "image": {"reference": "registry.example.org/data/sounds@sha256:" + "0" * 64}},
        ],
        "prepare": {
            "type": "Script",
            "source": {"configMap": {"name": "cleaning"}},
            "image": "example.com/cleaning:1",
            "entrypoint": "prepare.py",
            "parameters": {"vocabulary": 10000, "lower": True},
            "datasets": [{"name": "raw", "uri": "s3://team-a/raw/"}],
            "tables": {
                "dataset": "raw",
                "path": "2026/",
                "schema": {
                    "strict": True,
                    "columns": [
                        {
                            "name": "age",
                            "type": "Integer",
                            "min": "0",
                            "max": "130",
                            "matches": "",
                            "nullable": True,
                            "unique": False,
                        },
                        {
                            "name": "city",
                            "type": "Text",
                            "oneOf": ["Ulm", "Bonn"],
                            "matches": "^[A-Z]",
                            "nullable": False,
                            "unique": False,
                        },
                        {"name": "patient id", "type": "Integer", "unique": True, "nullable": False, "matches": ""},
                    ],
                },
                "privacy": {
                    "keySecretRef": {"name": "masking", "key": "key"},
                    "columns": [{"name": "patient id", "action": "Hash"}, {"name": "email", "action": "Drop"}],
                    "detect": "Refuse",
                    "region": "DE",
                },
                "split": {
                    "train": "0.8",
                    "validation": "0.1",
                    "test": "0.1",
                    "seed": 7,
                    "stratify": "city",
                    "group": "patient id",
                    "time": "",
                },
                "balance": {"column": "city", "method": "Oversample"},
                "write": {"format": "Parquet", "compression": "Zstd", "rowGroupRows": 100000},
            },
            "resources": {"limits": {"cpu": "2"}, "requests": {"cpu": "500m"}},
            "output": {"name": "cleaned"},
        },
        "evaluate": {
            "task": "Classification",
            "data": {
                "dataset": "heldout",
                "path": "test.parquet",
                "label": "species",
                "inputs": {"flower": ["sepal", "petal"]},
                "output": "probabilities",
                "weight": "weight",
                "group": "",
                "positive": "setosa",
            },
            "datasets": [{"name": "heldout", "uri": "s3://team-a/heldout/"}],
            "slices": ["region"],
            "sensitive": ["sex"],
            "format": "ONNX",
            "baseline": {"alias": "champion"},
            "gates": [
                {"metric": "accuracy", "slice": "", "min": "0.9", "confidence": "0.95"},
                {"metric": "accuracy", "slice": "region=north", "maxRegression": "0.02", "confidence": "0.9"},
                {"metric": "equalized_odds_difference", "slice": "sex", "max": "0.1", "confidence": "0.95"},
            ],
            "image": "example.com/judging:1",
            "resources": {"limits": {"cpu": "2"}},
            "card": {"intendedUse": "to tell irises apart", "limits": "no other flowers", "licence": "CC-BY-4.0"},
            "explain": {
                "method": "Occlusion",
                "samples": 10,
                "target": "setosa",
                "background": 40,
                "budget": 256,
                "importance": False,
                "values": False,
                "deadline": "90s",
            },
        },
        "tuning": {
            "objective": {"metric": "val_accuracy", "goal": "Maximize"},
            "space": [
                {"name": "learning_rate", "type": "Float", "min": "0.0001", "max": "0.1", "log": True},
                {"name": "units", "type": "Int", "min": "16", "max": "128", "step": "16", "log": False},
                {"name": "kind", "type": "Categorical", "values": ["relu", "tanh"], "log": False},
            ],
            "sampler": "Random",
            "seed": 7,
            "maxTrials": 20,
            "parallel": 4,
            "maxFailedTrials": 2,
            "keep": 5,
            "resources": {"limits": {"memory": "512Mi"}},
        },
        "storage": {"secretRef": {"name": "headrace-storage"}},
        "serviceAccountName": "trainer",
        "strategy": {"type": "MultiWorkerMirrored", "workers": 2},
        "resources": {"limits": {"cpu": "2", "memory": "4Gi", "nvidia.com/gpu": 1}, "requests": {"cpu": "500m"}},
        "podTemplate": {
            "metadata": {"labels": {"team": "a"}},
            "spec": {
                "priorityClassName": "high",
                "nodeSelector": {"gpu": "true"},
                "containers": [
                    {"name": "trainer", "env": [{"name": "X", "value": "1"}], "securityContext": {"runAsUser": 7}}
                ],
                "volumes": [{"name": "scratch", "emptyDir": {}}],
            },
        },
        "tracking": {"experiment": "text-generation"},
        "checkpoint": {"interval": "5m", "keep": 3, "resume": "Fast", "maxReplay": "30m", "gracePeriod": "2m"},
        "evaluation": {"gates": [{"metric": "val_accuracy", "min": "0.2"}, {"metric": "loss", "max": "6.5"}]},
        "output": {
            "model": "text-generator",
            "formats": ["TensorFlow", "ONNX"],
            "requiredFormats": ["ONNX"],
            "inputExample": "None",
            "alias": "candidate",
            "approval": {"required": True},
        },
        "restartPolicy": {"maxRestarts": 3},
        "startDeadlineSeconds": 600,
        "activeDeadlineSeconds": 86400,
        "ttlSecondsAfterFinished": 604800,
        "suspend": False,
    },
}

MODEL_SERVICE: dict[str, Any] = {
    "apiVersion": API_VERSION,
    "kind": "ModelService",
    "metadata": {"name": "text-generator", "namespace": "default"},
    "spec": {
        "model": {"registry": {"name": "text-generator", "alias": "candidate"}},
        "storage": {"secretRef": {"name": "headrace-storage-read"}},
        "runtime": {"name": "onnxruntime"},
        "resources": {"limits": {"cpu": "1", "memory": "1Gi"}},
        "scaling": {"replicas": 2},
        "rollout": {
            "steps": [{"weight": 10, "hold": "1m", "pause": {}}, {"weight": 50, "hold": "1m"}],
            "progressDeadline": "10m",
            "analysis": {
                "interval": "10s",
                "failureLimit": 2,
                "noData": "Hold",
                "checks": [
                    {"name": "errors", "metric": "SuccessRate", "min": "0.99", "minRequests": 50},
                    {"name": "latency", "metric": "LatencyP95", "maxRatioToStable": "1.5", "minRequests": 200},
                ],
            },
            "promotion": {"alias": "champion"},
        },
        "route": {
            "parentRefs": [{"name": "headrace", "namespace": "headrace-system"}],
            "hostnames": ["text.example.com"],
            "path": "/text",
        },
    },
}

ABSENT = object()
RANGE = {"name": "x", "type": "Float", "min": "0.5", "max": "1"}
VALUES = {"name": "x", "type": "Categorical", "values": ["a", "b"]}


def eventually(is_so: Callable[[], bool], seconds: float = 20) -> None:
    """Wait until the API server has taken up a changed CRD, which it does within a second or two."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"not so after {seconds} s"
        time.sleep(0.1)


def changed(manifest: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A copy with values put at dotted paths; ABSENT takes one away."""
    result = copy.deepcopy(manifest)
    for path, value in changes.items():
        *parents, last = path.split(".")
        at = result
        for parent in parents:
            at = at.setdefault(parent, {})
        if value is ABSENT:
            del at[last]
        else:
            at[last] = value
    return result


def container(**security: Any) -> list[dict[str, Any]]:
    return [{"name": "trainer", "securityContext": security}]


# What makes of its preparation one by Spark.
BY_SPARK: dict[str, Any] = {
    "spec.prepare.type": "Spark",
    "spec.prepare.tables": ABSENT,
    "spec.prepare.datasets": [{"name": "raw", "uri": "s3://team-a/raw/"}],
}

# What is wrong: the change to a good job, and the words that a person has to read.
REFUSED_JOBS: dict[str, tuple[dict[str, Any], str]] = {
    "name too long": ({"metadata.name": "a" * 41}, "at most 40 lower-case letters"),
    "name begins with a digit": ({"metadata.name": "1st"}, "beginning with a letter"),
    "name with a dot": ({"metadata.name": "a.b"}, "at most 40 lower-case letters"),
    "no spec": ({"spec": ABSENT}, "spec: Required value"),
    "no source": ({"spec.source": ABSENT}, "spec.source: Required value"),
    "empty source": ({"spec.source": {}}, "spec.source: Forbidden: set exactly one of configMap and image"),
    "two sources": (
        {"spec.source": {"configMap": {"name": "x"}, "image": "x:1"}},
        "spec.source: Forbidden: set exactly one of configMap and image",
    ),
    "source image beside image": (
        {"spec.source": {"image": "x:1"}, "spec.image": "y:1"},
        "spec.image: Forbidden: source.image is the image that runs: leave image empty",
    ),
    "image with a space": ({"spec.image": "x :1"}, "spec.image: Forbidden: must be an image reference, without spaces"),
    "no entrypoint": ({"spec.entrypoint": ABSENT}, "spec.entrypoint: Required value"),
    "entrypoint outside": ({"spec.entrypoint": "lib/../../x.py"}, "must stay within the source"),
    "a number where a text is wanted": (
        {"spec.tracking.experiment": 1},
        'spec.tracking.experiment in body must be of type string: "integer"',
    ),
    "an image that YAML reads as a number": (
        {"spec.image": 1.5},
        'spec.image in body must be of type string: "number"',
    ),
    "a label that YAML reads as true": (
        {"spec.podTemplate.metadata": {"labels": {"canary": True}}},
        'spec.podTemplate.metadata.labels.canary in body must be of type string: "boolean"',
    ),
    "a positive class that is true": (
        {"spec.evaluate.data.positive": True},
        'spec.evaluate.data.positive in body must be of type integer,string: "boolean"',
    ),
    "absolute entrypoint": ({"spec.entrypoint": "/etc/passwd"}, "spec.entrypoint: Forbidden: must be a relative path"),
    "a list of lists as parameter": ({"spec.parameters": {"layers": [[1], [2]]}}, "spec.parameters.layers"),
    "a list of objects as parameter": ({"spec.parameters": {"layers": [{"a": 1}]}}, "spec.parameters.layers"),
    "too long a list as parameter": ({"spec.parameters": {"layers": [1] * 65}}, "must have at most 64 items"),
    "an object as parameter": ({"spec.parameters": {"layers": {"a": 1}}}, "spec.parameters.layers"),
    "an empty object as parameter": ({"spec.parameters": {"layers": {}}}, "spec.parameters.layers"),
    "too many parameters": ({"spec.parameters": {f"p{i}": i for i in range(65)}}, "must have at most 64 items"),
    "prepare of an unknown type": ({"spec.prepare.type": "Hadoop"}, 'Unsupported value: "Hadoop"'),
    "prepare without a type": ({"spec.prepare.type": ABSENT}, "spec.prepare.type: Required value"),
    "prepare without an entrypoint": (
        {"spec.prepare.entrypoint": ABSENT},
        "spec.prepare.entrypoint: Required value: name the script that type Script runs",
    ),
    "prepare outside of its source": ({"spec.prepare.entrypoint": "../x.py"}, "must stay within the source"),
    "prepare of nothing": ({"spec.prepare.output": ABSENT}, "spec.prepare.output: Required value"),
    "prepare of a name that is a path": ({"spec.prepare.output.name": "../x"}, "spec.prepare.output.name"),
    "prepare of a dataset that is there": (
        {"spec.prepare.output.name": "corpus"},
        "spec.prepare.output.name: Forbidden: prepare.output.name is the name of one of spec.datasets",
    ),
    "prepare of a part of a dataset": (
        {"spec.prepare.datasets": [{"name": "raw", "uri": "s3://team-a/raw/", "shard": "ByWorker"}]},
        "spec.prepare.datasets: Forbidden: a preparation has one pod, which reads copies: leave shard and access out",
    ),
    "prepare's source image beside its image": (
        {"spec.prepare.source": {"image": "x:1"}},
        "spec.prepare.image: Forbidden: prepare.source.image is the image that runs: leave prepare.image empty",
    ),
    "prepare's image beside the source image that it runs": (
        {"spec.source": {"image": "x:1"}, "spec.prepare.source": ABSENT},
        "spec.prepare.image: Forbidden: source.image is the image that runs: leave prepare.image empty",
    ),
    "spark beside a script": (
        {"spec.prepare.spark": {"executors": 2}},
        "spec.prepare.spark: Forbidden: spark belongs to type Spark",
    ),
    "spark without an entrypoint": (
        {**BY_SPARK, "spec.prepare.entrypoint": ABSENT},
        "spec.prepare.entrypoint: Required value: name the script that type Spark runs",
    ),
    "spark and tables": (
        {"spec.prepare.type": "Spark"},
        "spec.prepare.tables: Forbidden: tables are done in one pod",
    ),
    "spark on a volume": (
        {**BY_SPARK, "spec.prepare.datasets": [{"name": "raw", "persistentVolumeClaim": {"claimName": "raw"}}]},
        "spec.prepare.datasets: Forbidden: with type Spark each dataset is of s3://",
    ),
    "spark on another store": (
        {**BY_SPARK, "spec.prepare.datasets": [{"name": "raw", "uri": "gs://raw/"}]},
        "spec.prepare.datasets: Forbidden: with type Spark each dataset is of s3://",
    ),
    "spark and unpacked": (
        {**BY_SPARK, "spec.prepare.datasets": [{"name": "raw", "uri": "s3://raw/", "unpack": "Auto"}]},
        "spec.prepare.datasets: Forbidden: with type Spark nothing is fetched that could be unpacked",
    ),
    "spark without executors": ({**BY_SPARK, "spec.prepare.spark.executors": 0}, "greater than or equal to 1"),
    "spark with too little memory": (
        {**BY_SPARK, "spec.prepare.spark.executorResources": {"limits": {"memory": "512Mi"}}},
        "an executor needs 1Gi of memory",
    ),
    "spark with GPUs": (
        {**BY_SPARK, "spec.prepare.spark.executorResources": {"limits": {"nvidia.com/gpu": 1}}},
        "an executor is given cpu, memory and ephemeral-storage",
    ),
    "spark with a master of its own": (
        {**BY_SPARK, "spec.prepare.spark.conf": {"spark.master": "local"}},
        "use prepare.spark.executors",
    ),
    "spark with a property of pods": (
        {**BY_SPARK, "spec.prepare.spark.conf": {"spark.kubernetes.namespace": "other"}},
        "goes into spec.podTemplate",
    ),
    "spark with a secret in a property": (
        {**BY_SPARK, "spec.prepare.spark.conf": {"spark.hadoop.fs.s3a.secret.key": "x"}},
        "no credentials in properties",
    ),
    "spark with a key in a property": (
        {**BY_SPARK, "spec.prepare.spark.conf": {"spark.hadoop.fs.azure.account.key.acct": "x"}},
        "no credentials in properties",
    ),
    "spark with another store": (
        {**BY_SPARK, "spec.prepare.spark.conf": {"spark.hadoop.fs.s3a.endpoint": "http://other"}},
        "Headrace sets spark.master",
    ),
    "spark with memory beside the executor's": (
        {**BY_SPARK, "spec.prepare.spark.conf": {"spark.memory.offHeap.size": "8g"}},
        "what a pod gets is said in prepare.spark.executorResources",
    ),
    "spark with a property that is none": (
        {**BY_SPARK, "spec.prepare.spark.conf": {"shuffle.partitions": "4"}},
        "a property is named like spark.sql.shuffle.partitions",
    ),
    "tables that nobody says": (
        {"spec.prepare.type": "Tables", "spec.prepare.tables": ABSENT},
        "spec.prepare.tables: Required value: say what type Tables does",
    ),
    "tables alone beside a script": (
        {"spec.prepare.type": "Tables"},
        "spec.prepare.type: Forbidden: type Tables runs no script: leave entrypoint and source out",
    ),
    "tables of no dataset": (
        {"spec.prepare.tables.dataset": "corpus"},
        "spec.prepare.tables.dataset: Forbidden: tables.dataset is the name of one of prepare.datasets",
    ),
    "tables outside of their dataset": (
        {"spec.prepare.tables.path": "a/../../x"},
        "must be a relative path, without ..",
    ),
    "a hash without a key": (
        {"spec.prepare.tables.privacy.keySecretRef": ABSENT},
        "privacy.keySecretRef: Required value: Hash and Tokenize need a key: name the Secret that has it",
    ),
    "a private label": (
        {"spec.prepare.tables.privacy.columns": [{"name": "city", "action": "Hash"}]},
        "spec.prepare.tables.split.stratify: Forbidden: stratify names a private column",
    ),
    "a private class": (
        {"spec.prepare.tables.balance.column": "email"},
        "spec.prepare.tables.balance.column: Forbidden: balance names a private column",
    ),
    "a region that is none": ({"spec.prepare.tables.privacy.region": "de"}, "must be a country in two capitals"),
    "shares that are not all": (
        {"spec.prepare.tables.split.test": "0.2"},
        "spec.prepare.tables.split.train: Forbidden: train, validation and test are to make 1",
    ),
    "a share that is none": ({"spec.prepare.tables.split.test": "most"}, "split.test: Forbidden: must be a decimal"),
    "nothing to train on": (
        {"spec.prepare.tables.split": {"train": "0", "test": "1"}},
        "train is to be more than 0",
    ),
    "classes in time": (
        {"spec.prepare.tables.split.time": "day"},
        "spec.prepare.tables.split.stratify: Forbidden: time and stratify cannot be had together",
    ),
    "balance without parts": (
        {"spec.prepare.tables.split": ABSENT},
        "spec.prepare.tables.balance: Forbidden: balance is of the part train: set split",
    ),
    "bounds of texts": (
        {"spec.prepare.tables.schema": {"columns": [{"name": "a", "type": "Text", "min": "0"}]}},
        "type: Forbidden: min and max are for Integer and Number",
    ),
    "values of numbers": (
        {"spec.prepare.tables.schema": {"columns": [{"name": "a", "type": "Integer", "oneOf": ["1"]}]}},
        "type: Forbidden: oneOf and matches are for Text",
    ),
    "a column twice": (
        {"spec.prepare.tables.privacy.columns": [{"name": "a", "action": "Drop"}, {"name": "a", "action": "Mask"}]},
        "Duplicate value",
    ),
    "a schedule without a time": ({"spec.schedule": {}}, "spec.schedule.cron: Required value"),
    "a schedule of four fields": (
        {"spec.schedule": {"cron": "0 3 * *"}},
        "spec.schedule.cron: Forbidden: must be five fields, minute hour day-of-month month day-of-week",
    ),
    "a schedule at 60": (
        {"spec.schedule": {"cron": "60 3 * * *"}},
        "spec.schedule.cron: Forbidden: must be five fields",
    ),
    "a schedule with a zone in it": (
        {"spec.schedule": {"cron": "TZ=UTC 0 3 * * *"}},
        "spec.schedule.cron: Forbidden: must be five fields",
    ),
    "a zone that is none": (
        {"spec.schedule": {"cron": "@daily", "timeZone": "Europe/Ulm"}},
        "must be the name of a time zone, such as Europe/Berlin or Etc/UTC",
    ),
    "the zone of whoever asks": (
        {"spec.schedule": {"cron": "@daily", "timeZone": "Local"}},
        "spec.schedule.timeZone: Forbidden: must be the name of a time zone",
    ),
    "an offset for a zone": (
        {"spec.schedule": {"cron": "@daily", "timeZone": "+02:00"}},
        "spec.schedule.timeZone: Forbidden: must be the name of a time zone",
    ),
    "a policy that is none": (
        {"spec.schedule": {"cron": "@daily", "concurrencyPolicy": "Queue"}},
        'supported values: "Allow", "Forbid", "Replace"',
    ),
    "a deadline within which no time is found": (
        {"spec.schedule": {"cron": "@daily", "startingDeadlineSeconds": 5}},
        "should be greater than or equal to 10",
    ),
    "a schedule of tunings with a name that leaves no room": (
        {"spec.schedule": {"cron": "@daily"}, "metadata.name": "a" * 27},
        "with spec.schedule and spec.tuning metadata.name has at most 26 characters",
    ),
    "a schedule with a name that leaves no room": (
        {"spec.schedule": {"cron": "@daily"}, "metadata.name": "a" * 32},
        "with spec.schedule metadata.name must be at most 31 characters",
    ),
    "a schedule beside a time to live": (
        {"spec.schedule": {"cron": "@daily"}, "spec.ttlSecondsAfterFinished": 60},
        "spec.ttlSecondsAfterFinished: Forbidden: with schedule the trainings are kept by their number",
    ),
    "a schedule that keeps nothing which could be approved": (
        {"spec.schedule": {"cron": "@daily", "successfulJobsHistoryLimit": 0}},
        "spec.schedule.successfulJobsHistoryLimit: Forbidden: with output.approval.required keep at least one",
    ),
    "a schedule that is suspended twice": (
        {"spec.schedule": {"cron": "@daily"}, "spec.suspend": True},
        "spec.suspend: Forbidden: suspend stops one training: to stop a schedule set schedule.suspend",
    ),
    "prepare with an object as parameter": ({"spec.prepare.parameters": {"x": {"a": 1}}}, "spec.prepare.parameters.x"),
    "tuning a job with a long name": ({"metadata.name": "a" * 36}, "metadata.name has at most 35 characters"),
    "tuning without a model": (
        {"spec.output": ABSENT, "spec.evaluate": ABSENT, "spec.evaluation": ABSENT},
        "spec.output: Required value: tuning ends with the model of the best trial: add output",
    ),
    "tuning on more datasets than a trial can have": (
        {"spec.datasets": [{"name": f"d{number}", "uri": f"s3://b/{number}/"} for number in range(16)]},
        "spec.datasets: Forbidden: with tuning and prepare datasets has at most 15 entries",
    ),
    "tuning nothing": ({"spec.tuning.space": []}, "should have at least 1 items"),
    "tuning a parameter twice": ({"spec.tuning.space": [VALUES, VALUES]}, "Duplicate value"),
    "tuning a parameter that is none": (
        {"spec.tuning.space": [RANGE | {"name": "--x"}]},
        "must be the name of a param",
    ),
    "tuning for no number of trials": ({"spec.tuning.maxTrials": ABSENT}, "spec.tuning.maxTrials: Required value"),
    "tuning without end": ({"spec.tuning.maxTrials": 1001}, "should be less than or equal to 1000"),
    "tuning with more at once than there are": (
        {"spec.tuning.maxTrials": 3},
        "spec.tuning.parallel: Forbidden: parallel is more than maxTrials",
    ),
    "tuning for better": ({"spec.tuning.objective.goal": "Better"}, 'supported values: "Maximize", "Minimize"'),
    "tuning by chance": ({"spec.tuning.sampler": "CmaEs"}, 'supported values: "TPE", "Random", "Grid"'),
    "tuning without bounds": (
        {"spec.tuning.space": [{"name": "x", "type": "Float", "min": "1"}]},
        "Required value: a number needs min and max",
    ),
    "tuning bounds as numbers": ({"spec.tuning.space": [RANGE | {"min": 0.1}]}, 'must be of type string: "number"'),
    "tuning bounds that are none": ({"spec.tuning.space": [RANGE | {"min": "1e-4"}]}, "must be a decimal in quotes"),
    "tuning bounds the wrong way": ({"spec.tuning.space": [RANGE | {"max": "0.1"}]}, "min must be less than max"),
    "tuning with values of a number": (
        {"spec.tuning.space": [RANGE | {"values": ["1"]}]},
        "values are of type Categorical",
    ),
    "tuning without values": (
        {"spec.tuning.space": [VALUES | {"values": []}]},
        "Required value: type Categorical needs values",
    ),
    "tuning values with bounds": (
        {"spec.tuning.space": [VALUES | {"min": "1"}]},
        "type Categorical has values, and no min, max, step or log",
    ),
    "tuning whole numbers in parts": (
        {"spec.tuning.space": [RANGE | {"type": "Int"}]},
        "type Int has whole numbers as min, max and step",
    ),
    "tuning in no steps": ({"spec.tuning.space": [RANGE | {"step": "0"}]}, "step must be more than 0"),
    "tuning the logarithm of nothing": (
        {"spec.tuning.space": [RANGE | {"min": "0", "log": True}]},
        "with log min must be more than 0",
    ),
    "tuning the logarithm in steps": (
        {"spec.tuning.space": [RANGE | {"step": "0.1", "log": True}]},
        "with log there are no steps",
    ),
    "tuning a grid of any number": (
        {"spec.tuning.space": [RANGE], "spec.tuning.sampler": "Grid"},
        "a grid has a number of values: give each Float a step",
    ),
    "evaluate of an unknown task": ({"spec.evaluate.task": "Clustering"}, "spec.evaluate.task: Unsupported value"),
    "evaluate without data": (
        {"spec.evaluate.data": ABSENT},
        "spec.evaluate.data: Required value: this task needs rows to judge on: set evaluate.data",
    ),
    "evaluate of data that nothing has": (
        {"spec.evaluate.data.dataset": "other"},
        "spec.evaluate.data.dataset: Forbidden: evaluate.data.dataset must be a name of evaluate.datasets or of",
    ),
    "evaluate of data outside of it": ({"spec.evaluate.data.path": "a/../../b"}, "must stay within the dataset"),
    "evaluate of data elsewhere": ({"spec.evaluate.data.path": "/etc/passwd"}, "must be relative to the dataset"),
    "evaluate with a script for a task of ours": (
        {"spec.evaluate.entrypoint": "evaluate.py"},
        "spec.evaluate: Forbidden: only task Script runs a program of yours: leave entrypoint and source out",
    ),
    "evaluate by a script that is not named": (
        {"spec.evaluate": {"task": "Script"}},
        "spec.evaluate.entrypoint: Required value: task Script runs a program of yours: name it in evaluate.entrypoint",
    ),
    "evaluate by a script with data": (
        {"spec.evaluate": {"task": "Script", "entrypoint": "x.py", "data": {"dataset": "corpus"}}},
        "spec.evaluate.data: Forbidden: a program of yours reads its rows by itself: leave evaluate.data out",
    ),
    "evaluate by a script whose image is not the source's": (
        {
            "spec.evaluate": {"task": "Script", "entrypoint": "x.py", "source": {"image": "x:1"}, "image": "y:1"},
        },
        "spec.evaluate.image: Forbidden: the image of the source is what runs: leave evaluate.image empty",
    ),
    "evaluate a ranking without queries": (
        {"spec.evaluate.task": "Ranking"},
        "spec.evaluate.data: Required value: task Ranking judges the order within each query: set evaluate.data.group",
    ),
    "evaluate with a metric of another task": (
        {"spec.evaluate.gates": [{"metric": "rmse", "max": "1"}]},
        "spec.evaluate.gates: Forbidden: task Classification measures accuracy, balanced_accuracy, precision, ",
    ),
    "evaluate with fairness of a regression": (
        {"spec.evaluate.task": "Regression", "spec.evaluate.gates": []},
        "spec.evaluate.sensitive: Forbidden: groups are compared with task Classification only",
    ),
    "evaluate with fairness of no column": (
        {"spec.evaluate.gates": [{"metric": "demographic_parity_ratio", "min": "0.8"}]},
        "spec.evaluate.gates: Forbidden: demographic parity, equalized odds and equal opportunity are measured between",
    ),
    "evaluate with a slice of no column": (
        {"spec.evaluate.gates": [{"metric": "accuracy", "slice": "country=de", "min": "0.8"}]},
        "spec.evaluate.gates: Forbidden: a gate's slice is COLUMN=VALUE, such as region=north, with a column of",
    ),
    "evaluate with a regression of one row's error": (
        {
            "spec.evaluate.task": "Regression",
            "spec.evaluate.sensitive": ABSENT,
            "spec.evaluate.gates": [{"metric": "max_error", "maxRegression": "0.1"}],
        },
        "spec.evaluate.gates: Forbidden: max_error is the error of a single row, so it cannot be told from chance",
    ),
    "evaluate with a column that has a sign": ({"spec.evaluate.slices": ["a=b"]}, "must be the name of a column"),
    "evaluate with a regression from nothing": (
        {"spec.evaluate.baseline": ABSENT},
        "spec.evaluate.baseline: Required value: maxRegression compares with a baseline: set evaluate.baseline.alias",
    ),
    "evaluate with gradients of a format that has none": (
        {"spec.evaluate.explain.method": "IntegratedGradients"},
        "spec.evaluate.explain: Forbidden: only the format TensorFlow has gradients: set evaluate.format to TensorFlow",
    ),
    "evaluate by a program with explanations": (
        {"spec.evaluate": {"task": "Script", "entrypoint": "x.py", "explain": {}}},
        "spec.evaluate.explain: Forbidden: a program of yours explains by itself: leave evaluate.explain out",
    ),
    "evaluate with no row to explain": (
        {"spec.evaluate.explain.samples": 0},
        "spec.evaluate.explain.samples: Invalid value: 0: spec.evaluate.explain.samples in body should be greater",
    ),
    "evaluate with explanations in no time": (
        {"spec.evaluate.explain.deadline": "1s"},
        "spec.evaluate.explain.deadline: Forbidden: must be a duration from 10s to 1h",
    ),
    "evaluate with a gate without a bound": (
        {"spec.evaluate.gates": [{"metric": "accuracy"}]},
        "spec.evaluate.gates[0]: Required value: a gate needs min, max or maxRegression",
    ),
    "evaluate with a gate that nothing passes": (
        {"spec.evaluate.gates": [{"metric": "accuracy", "min": "0.9", "max": "0.1"}]},
        "min is larger than max: no value could pass",
    ),
    "evaluate with a gate twice": (
        {"spec.evaluate.gates": [{"metric": "accuracy", "min": "0.9"}, {"metric": "accuracy", "max": "1"}]},
        "Duplicate value",
    ),
    "evaluate with a gain for a regression": (
        {"spec.evaluate.gates": [{"metric": "accuracy", "maxRegression": "-0.1"}]},
        "spec.evaluate.gates[0].maxRegression: Forbidden: must be from 0 to",
    ),
    "evaluate with more than certainty": (
        {"spec.evaluate.gates": [{"metric": "accuracy", "maxRegression": "0.1", "confidence": "1"}]},
        "spec.evaluate.gates[0].confidence: Forbidden: must be from 0.5 to 0.9999",
    ),
    "evaluate a format that no server runs": (
        {"spec.evaluate.format": "Keras", "spec.output.formats": ["ONNX", "Keras"]},
        "spec.evaluate.format: Forbidden: a Keras file is served by no server, and Text has no rows of outputs: "
        "judge ONNX or TensorFlow",
    ),
    "evaluate a format that is not exported": (
        {"spec.evaluate.format": "TensorFlow", "spec.output.formats": ["ONNX"]},
        "spec.evaluate.format: Forbidden: evaluate.format must be one of output.formats",
    ),
    "evaluate what no server runs": (
        {"spec.evaluate.format": ABSENT, "spec.output.formats": ["Keras"], "spec.output.requiredFormats": []},
        "spec.output.formats: Forbidden: what is judged is what a server runs: add ONNX or TensorFlow",
    ),
    "evaluate nothing": (
        {"spec.output": ABSENT, "spec.evaluation": ABSENT},
        "spec.output: Required value: evaluate judges the model of spec.output",
    ),
    "evaluate's metric among the training's gates": (
        {"spec.evaluation.gates": [{"metric": "evaluate/accuracy", "min": "0.5"}]},
        "spec.evaluation.gates: Forbidden: evaluate/... is what the stage evaluate measures: put the gate into",
    ),
    "evaluate on a part of a dataset": (
        {"spec.evaluate.datasets": [{"name": "heldout", "uri": "s3://team-a/heldout/", "shard": "ByWorker"}]},
        "spec.evaluate.datasets: Forbidden: an evaluation has one pod, which reads copies: leave shard and access out",
    ),
    "evaluate on two datasets of one name": (
        {
            "spec.evaluate.datasets": [{"name": "cleaned", "uri": "s3://team-a/x/"}],
            "spec.evaluate.data.dataset": "cleaned",
        },
        "spec.evaluate.datasets: Forbidden: prepare.output.name is the name of one of evaluate.datasets",
    ),
    "dataset twice": (
        {"spec.datasets": [{"name": "a", "uri": "s3://bucket/a"}, {"name": "a", "uri": "s3://bucket/b"}]},
        "Duplicate value",
    ),
    "dataset not in S3": (
        {"spec.datasets": [{"name": "a", "uri": "/etc"}]},
        "spec.datasets[0].uri: Forbidden: must be like s3://BUCKET/KEY",
    ),
    "dataset over http": (
        {"spec.datasets": [{"name": "a", "uri": "http://example.org/a", "sha256": "0" * 64}]},
        "spec.datasets[0].uri: Forbidden: must be like s3://BUCKET/KEY",
    ),
    "dataset of HDFS by the port that speaks no HTTP": (
        {"spec.datasets": [{"name": "a", "uri": "hdfs://namenode:8020/a"}]},
        "webhdfs://HOST:HTTP-PORT/PATH",
    ),
    "dataset of HDFS with a host that is none": (
        {"spec.datasets": [{"name": "a", "uri": "webhdfs://[namenode:9870/a"}]},
        "webhdfs://HOST:HTTP-PORT/PATH",
    ),
    "dataset with a password": (
        {"spec.datasets": [{"name": "a", "uri": "https://me:secret@example.org/a", "sha256": "0" * 64}]},
        "without a user or password in it",
    ),
    "dataset of the web without its sha256": (
        {"spec.datasets": [{"name": "a", "uri": "https://example.org/a"}]},
        "spec.datasets[0].sha256: Required value: a file on the web needs its sha256",
    ),
    "dataset of the web with half a sha256": (
        {"spec.datasets": [{"name": "a", "uri": "https://example.org/a", "sha256": "abc"}]},
        "spec.datasets[0].sha256: Forbidden: must be 64 hex digits",
    ),
    "dataset of nowhere": (
        {"spec.datasets": [{"name": "a"}]},
        "spec.datasets[0]: Forbidden: set exactly one of uri, persistentVolumeClaim and image",
    ),
    "dataset of two places": (
        {"spec.datasets": [{"name": "a", "uri": "s3://bucket/a", "image": {"reference": "x:1"}}]},
        "spec.datasets[0]: Forbidden: set exactly one of uri, persistentVolumeClaim and image",
    ),
    "dataset outside of its volume": (
        {"spec.datasets": [{"name": "a", "persistentVolumeClaim": {"claimName": "x", "path": "a/../../etc"}}]},
        "spec.datasets[0].persistentVolumeClaim.path: Forbidden: must be a path within the volume",
    ),
    "dataset of a volume with a sha256": (
        {"spec.datasets": [{"name": "a", "persistentVolumeClaim": {"claimName": "x"}, "sha256": "0" * 64}]},
        "spec.datasets[0].sha256: Forbidden: sha256 is of a file on the web",
    ),
    "dataset of a bucket with a sha256": (
        {"spec.datasets": [{"name": "a", "uri": "s3://bucket/a", "sha256": "0" * 64}]},
        "spec.datasets[0].sha256: Forbidden: sha256 is of a file on the web",
    ),
    "dataset unpacked in a way that nobody knows": (
        {"spec.datasets": [{"name": "a", "uri": "s3://bucket/a", "unpack": "Rar"}]},
        'supported values: "Auto", "Gzip", "Zstd", "Tar", "Zip"',
    ),
    "dataset of a volume that is unpacked": (
        {"spec.datasets": [{"name": "a", "persistentVolumeClaim": {"claimName": "x"}, "unpack": "Auto"}]},
        "spec.datasets[0].unpack: Forbidden: a volume is mounted as it is: leave unpack out",
    ),
    "dataset that is unpacked and streamed": (
        {"spec.datasets": [{"name": "a", "uri": "s3://bucket/a", "unpack": "Auto", "access": "Stream"}]},
        "spec.datasets[0].access: Forbidden: what can be streamed are objects",
    ),
    "dataset of a volume that is divided": (
        {"spec.datasets": [{"name": "a", "persistentVolumeClaim": {"claimName": "x"}, "shard": "ByWorker"}]},
        "spec.datasets[0].shard: Forbidden: only objects below a prefix can be divided",
    ),
    "dataset of the web that is divided": (
        {"spec.datasets": [{"name": "a", "uri": "https://e.org/a", "sha256": "0" * 64, "shard": "ByWorker"}]},
        "spec.datasets[0].shard: Forbidden: only objects below a prefix can be divided",
    ),
    "dataset name as a path": ({"spec.datasets": [{"name": "../a", "uri": "s3://bucket/a"}]}, "spec.datasets[0].name"),
    "secret without a name": ({"spec.storage": {"secretRef": {}}}, "spec.storage.secretRef.name: Required value"),
    "unknown strategy": (
        {"spec.strategy": {"type": "Horovod"}},
        'supported values: "SingleWorker", "Mirrored", "MultiWorkerMirrored", "MultiWorker"',
    ),
    "single worker with two": (
        {"spec.strategy": {"type": "SingleWorker", "workers": 2}},
        "SingleWorker and Mirrored have exactly 1 worker: leave workers out, or choose a type with several",
    ),
    "replicas in several pods": (
        {"spec.strategy": {"type": "Mirrored", "workers": 2}},
        "SingleWorker and Mirrored have exactly 1 worker",
    ),
    "several workers that are one": (
        {"spec.strategy": {"type": "MultiWorkerMirrored"}},
        "MultiWorker and MultiWorkerMirrored need 2 to 64 workers",
    ),
    "any program under TensorFlow's strategy": (
        {"spec.framework": "Script"},
        "spec.strategy.type: Forbidden: with framework Script strategy.type is SingleWorker or MultiWorker",
    ),
    "a Keras script in a gang of any programs": (
        {"spec.strategy": {"type": "MultiWorker", "workers": 2}},
        "with framework Keras strategy.type is SingleWorker, Mirrored or MultiWorkerMirrored",
    ),
    "too many workers": (
        {"spec.strategy": {"type": "MultiWorkerMirrored", "workers": 65}},
        "should be less than or equal to 64",
    ),
    "negative workers": ({"spec.strategy": {"workers": -1}}, "should be greater than or equal to 1"),
    "negative quantity": (
        {"spec.resources": {"limits": {"cpu": "-1"}}},
        "spec.resources.limits[cpu]: Forbidden: must be a quantity such as 500m",
    ),
    "negative number as quantity": (
        {"spec.resources": {"limits": {"cpu": -1}}},
        "spec.resources.limits[cpu]: Forbidden: must be a quantity such as 500m",
    ),
    "memory in thousandths of a byte": (
        {"spec.resources.limits": {"memory": "512m"}},
        "spec.resources: Forbidden: no container starts in less than 4Mi of memory; m is a thousandth of a byte, and a",
    ),
    "memory in bytes": ({"spec.resources": {"requests": {"memory": 512}}}, "write 512Mi for 512 mebibytes"),
    "evaluate of a model that is shown the label": (
        {"spec.evaluate.data.inputs": {"x": ["length", "species"]}, "spec.evaluate.data.label": "species"},
        "spec.evaluate.data.inputs: Forbidden: the label is what the model has to find out: leave the column out",
    ),
    "quantity that is none": (
        {"spec.resources": {"limits": {"memory": "4 GB"}}},
        "spec.resources.limits[memory]: Forbidden: must be a quantity such as 500m",
    ),
    "resource that is none": ({"spec.resources": {"limits": {"CPU!": "1"}}}, "a resource is named like cpu, memory"),
    "request over limit": (
        {"spec.resources": {"limits": {"memory": "1Gi"}, "requests": {"memory": "2000Mi"}}},
        "spec.resources.requests: Forbidden: a request cannot be larger than the limit",
    ),
    "labels that are none": ({"spec.podTemplate.metadata": {"labels": ["a"]}}, "must be of type object"),
    "host network": ({"spec.podTemplate.spec": {"hostNetwork": True}}, "cannot use its node's network"),
    "host processes": ({"spec.podTemplate.spec": {"hostPID": True}}, "cannot see its node's processes"),
    "host IPC": ({"spec.podTemplate.spec": {"hostIPC": True}}, "cannot use its node's IPC"),
    "host path": (
        {"spec.podTemplate.spec": {"volumes": [{"name": "a", "hostPath": {"path": "/"}}]}},
        "spec.podTemplate.spec.volumes[0].hostPath: Forbidden: a training pod cannot mount a folder of its node",
    ),
    "privileged": ({"spec.podTemplate.spec": {"containers": container(privileged=True)}}, "cannot be privileged"),
    "privileged init container": (
        {"spec.podTemplate.spec": {"initContainers": container(privileged=True)}},
        "cannot be privileged",
    ),
    "privilege escalation": (
        {"spec.podTemplate.spec": {"containers": container(allowPrivilegeEscalation=True)}},
        "cannot gain privileges",
    ),
    "added capabilities": (
        {"spec.podTemplate.spec": {"containers": container(capabilities={"add": ["SYS_ADMIN"]})}},
        "cannot add capabilities",
    ),
    "unmasked proc": (
        {"spec.podTemplate.spec": {"containers": container(procMount="Unmasked")}},
        "only procMount Default",
    ),
    "host port": (
        {"spec.podTemplate.spec": {"containers": [{"name": "trainer", "ports": [{"hostPort": 80}]}]}},
        "cannot take a port of its node",
    ),
    "node by name": ({"spec.podTemplate.spec": {"nodeName": "n1"}}, "goes past the scheduler"),
    "service account by its old name": (
        {"spec.podTemplate.spec": {"serviceAccount": "admin"}},
        "use spec.serviceAccountName",
    ),
    "service account in the template": (
        {"spec.podTemplate.spec": {"serviceAccountName": "admin"}},
        "use spec.serviceAccountName",
    ),
    "experiment with a slash": (
        {"spec.tracking.experiment": "other-team/x"},
        "spec.tracking.experiment: Forbidden: must be lower-case letters",
    ),
    "interval in days": (
        {"spec.checkpoint.interval": "2 days"},
        "spec.checkpoint.interval: Forbidden: must be a duration such as 250ms, 30s, 5m or 1h30m",
    ),
    "interval too short": ({"spec.checkpoint.interval": "1s"}, "must be a duration from 10s to 24h"),
    "interval too long": ({"spec.checkpoint.interval": "99999h"}, "must be a duration from 10s to 24h"),
    "negative interval": (
        {"spec.checkpoint.interval": "-5m"},
        "spec.checkpoint.interval: Forbidden: must be a duration such as 250ms, 30s, 5m or 1h30m",
    ),
    "no checkpoint kept": ({"spec.checkpoint.keep": 0}, "should be greater than or equal to 1"),
    "gate with a float": ({"spec.evaluation.gates": [{"metric": "a", "min": 0.2}]}, 'must be of type string: "number"'),
    "gate with words": (
        {"spec.evaluation.gates": [{"metric": "a", "min": "high"}]},
        'spec.evaluation.gates[0].min: Forbidden: must be a decimal in quotes, such as "0.99"',
    ),
    "gate on a name that no run has": (
        {"spec.evaluation.gates": [{"metric": "recall@5", "min": "0.2"}]},
        "every other character is written as _ there (recall@5 is recall_5)",
    ),
    "gate on a path that MLflow refuses": (
        {"spec.evaluation.gates": [{"metric": "a//b", "min": "0.2"}]},
        "must be a name",
    ),
    "gate without bounds": ({"spec.evaluation.gates": [{"metric": "a"}]}, "a gate needs min, max or both"),
    "gate that nothing passes": (
        {"spec.evaluation.gates": [{"metric": "a", "min": "0.9", "max": "0.10"}]},
        "min is larger than max: no value could pass",
    ),
    "gate on what the container used": (
        {"spec.evaluation.gates": [{"metric": "system/cpu_utilization_percentage", "min": "1"}]},
        "system/... says what the container used, and nothing of the model: name a metric of the training",
    ),
    "no gates": ({"spec.evaluation.gates": []}, "should have at least 1 items"),
    "metric twice": (
        {"spec.evaluation.gates": [{"metric": "a", "min": "1"}, {"metric": "a", "max": "2"}]},
        "Duplicate value",
    ),
    "gates without a model": ({"spec.output": ABSENT}, "evaluation judges the model of spec.output: add output"),
    "output without a run": ({"spec.tracking": ABSENT}, "output needs tracking.experiment"),
    "format that is none": ({"spec.output.formats": ["Torch"]}, 'supported values: "TensorFlow", "ONNX"'),
    "format twice": ({"spec.output.formats": ["ONNX", "ONNX"]}, "Duplicate value"),
    "format that no program hands over": (
        {
            "spec.framework": "Script",
            "spec.strategy": {"type": "SingleWorker"},
            "spec.output.formats": ["ONNX", "Keras"],
            "spec.output.requiredFormats": ABSENT,
        },
        "with framework Script output.formats are TensorFlow, ONNX or Text",
    ),
    "required format that is none of the default": (
        {"spec.output": {"model": "m", "requiredFormats": ["Keras"]}},
        "spec.output: Forbidden: requiredFormats may name only what is in formats",
    ),
    "required format that is not exported": (
        {"spec.output.requiredFormats": ["Keras"]},
        "spec.output: Forbidden: requiredFormats may name only what is in formats",
    ),
    "required format twice": ({"spec.output.requiredFormats": ["ONNX", "ONNX"]}, "Duplicate value"),
    "alias latest": ({"spec.output.alias": "latest"}, "reserved by MLflow"),
    "alias like a version": ({"spec.output.alias": "v2"}, "reserved by MLflow"),
    "model of another namespace": (
        {"spec.output.model": "team-b.text"},
        "spec.output.model: Forbidden: must be lower-case letters",
    ),
    "grace period that nothing fits in": ({"spec.checkpoint.gracePeriod": "5s"}, "must be a duration from 15s to 1h"),
    "grace period beside the field": (
        {"spec.podTemplate": {"spec": {"terminationGracePeriodSeconds": 120}}},
        "use spec.checkpoint.gracePeriod",
    ),
    "restarts without end": ({"spec.restartPolicy.maxRestarts": 1000}, "should be less than or equal to 100"),
    "no time to start": ({"spec.startDeadlineSeconds": 0}, "should be greater than or equal to 1"),
    "negative TTL": ({"spec.ttlSecondsAfterFinished": -1}, "should be greater than or equal to 0"),
    "field that is not built": (
        {"spec.evaluation.baseline": {"alias": "champion"}},
        'unknown field "spec.evaluation.baseline"',
    ),
    "typo": ({"spec.entryPoint": "train.py"}, 'unknown field "spec.entryPoint"'),
}

REFUSED_SERVICES: dict[str, tuple[dict[str, Any], str]] = {
    "name too long": ({"metadata.name": "a" * 41}, "at most 40 lower-case letters"),
    "no model": ({"spec.model": {}}, "set exactly one of registry, uri and trainingJob"),
    "two models": ({"spec.model.uri": "s3://team-a/model"}, "set exactly one of registry, uri and trainingJob"),
    "alias and version": ({"spec.model.registry.version": "3"}, "set exactly one of alias and version"),
    "neither alias nor version": ({"spec.model.registry": {"name": "a"}}, "set exactly one of alias and version"),
    "version as a number": ({"spec.model.registry": {"name": "a", "version": 3}}, 'must be of type string: "integer"'),
    "model not in S3": (
        {"spec.model": {"uri": "file:///model"}},
        "spec.model.uri: Forbidden: must be like s3://BUCKET/KEY",
    ),
    "no runtime's name": ({"spec.runtime.name": "Triton Server"}, "spec.runtime.name: Forbidden: must be lower-case"),
    "a runtime's format": ({"spec.runtime.format": "a/b"}, "must be the name of a format, such as ONNX"),
    "a runtime's image": ({"spec.runtime.image": "a b"}, "must be an image reference, without spaces"),
    "a runtime's variable twice": ({"spec.runtime.env": [{"name": "A"}, {"name": "A"}]}, "Duplicate value"),
    "a runtime's variable from elsewhere": (
        {"spec.runtime.env": [{"name": "A", "valueFrom": {}}]},
        'unknown field "spec.runtime.env[0].valueFrom"',
    ),
    "no runtime": ({"spec.runtime": ABSENT}, "spec.runtime: Required value"),
    "no replicas": ({"spec.scaling.replicas": 0}, "should be greater than or equal to 1"),
    "weights that fall": (
        {"spec.rollout.steps": [{"weight": 50}, {"weight": 10}]},
        "the weights of the steps have to rise",
    ),
    "weights that stand still": (
        {"spec.rollout.steps": [{"weight": 50}, {"weight": 50}]},
        "the weights of the steps have to rise",
    ),
    "a step to everything": ({"spec.rollout.steps": [{"weight": 100}]}, "should be less than or equal to 99"),
    "a pause with a time": (
        {"spec.rollout.steps": [{"weight": 10, "pause": {"duration": "5m"}}]},
        'unknown field "spec.rollout.steps[0].pause.duration"',
    ),
    "a pause that is a time": (
        {"spec.rollout.steps": [{"weight": 10, "pause": "5m"}]},
        'spec.rollout.steps[0].pause in body must be of type object: "string"',
    ),
    "a hold without an end": (
        {"spec.rollout.steps": [{"weight": 10, "hold": {}}]},
        'spec.rollout.steps[0].hold in body must be of type string: "object"',
    ),
    "hold in days": (
        {"spec.rollout.steps": [{"weight": 10, "hold": "1d"}]},
        "spec.rollout.steps[0].hold: Forbidden: must be a duration such as",
    ),
    "hold too long": ({"spec.rollout.steps": [{"weight": 10, "hold": "200h"}]}, "must be a duration from 0s to 168h"),
    "steps without a route": ({"spec.route": ABSENT}, "steps divide the requests of a route: set route.parentRefs"),
    "promotion onto the source": (
        {"spec.rollout.promotion.alias": "candidate"},
        "the promotion alias has to differ from the alias that is followed",
    ),
    "promotion without a registry": (
        {"spec.model": {"uri": "s3://team-a/model"}},
        "a model that is served by its uri is in no registry: leave promotion out",
    ),
    "no checks": ({"spec.rollout.analysis.checks": []}, "should have at least 1 items"),
    "check twice": (
        {"spec.rollout.analysis.checks": [{"name": "a", "metric": "SuccessRate", "min": "0.9"}] * 2},
        "Duplicate value",
    ),
    "success rate over 1": (
        {"spec.rollout.analysis.checks": [{"name": "a", "metric": "SuccessRate", "min": "99"}]},
        "must be from 0 to 1",
    ),
    "success rate as a ratio": (
        {"spec.rollout.analysis.checks": [{"name": "a", "metric": "SuccessRate", "maxRatioToStable": "1.5"}]},
        "a check of SuccessRate has min and no maxRatioToStable",
    ),
    "latency with a rate": (
        {"spec.rollout.analysis.checks": [{"name": "a", "metric": "LatencyP50", "min": "0.9"}]},
        "a check of a latency has maxRatioToStable and no min",
    ),
    "p95 of few": (
        {
            "spec.rollout.analysis.checks": [
                {"name": "a", "metric": "LatencyP95", "maxRatioToStable": "2", "minRequests": 50}
            ]
        },
        "a p95 needs minRequests of at least 200",
    ),
    "p99 of few": (
        {
            "spec.rollout.analysis.checks": [
                {"name": "a", "metric": "LatencyP99", "maxRatioToStable": "2", "minRequests": 200}
            ]
        },
        "a p99 needs minRequests of at least 1000",
    ),
    "route without a gateway": ({"spec.route.parentRefs": []}, "should have at least 1 items"),
    "path with dots": ({"spec.route.path": "/a/../b"}, "spec.route.path: Forbidden: must be without . and .."),
    "relative path": ({"spec.route.path": "a"}, "spec.route.path: Forbidden: must be a path that begins with /"),
    "hostname with a port": (
        {"spec.route.hostnames": ["a:80"]},
        "spec.route.hostnames[0]: Forbidden: must be a hostname such as text.example.com, without a port",
    ),
    "explanations of a SavedModel": (
        {"spec.runtime.name": "tensorflow-serving", "spec.explain": {}},
        "spec.explain: Forbidden: explanations are made with the model's ONNX format: set runtime.name to",
    ),
    "no such explanation": ({"spec.explain": {"method": "Lime"}}, 'supported values: "Auto", "Shapley", "Occlusion"'),
    "a budget for nothing": ({"spec.explain": {"budget": 1}}, "should be greater than or equal to 8"),
    "explanations without end": (
        {"spec.explain": {"deadline": "1h"}},
        "spec.explain.deadline: Forbidden: must be a duration from 1s to 10m",
    ),
    "a background from nowhere": ({"spec.explain": {"background": {}}}, "spec.explain.background.configMap: Required"),
    "a background's key": (
        {"spec.explain": {"background": {"configMap": {"name": "rows", "key": "../rows"}}}},
        "must be a key of a ConfigMap, such as background.json",
    ),
    "explained by none": ({"spec.explain": {"replicas": 0}}, "should be greater than or equal to 1"),
    "field that is not built": ({"spec.rollout.onFailure": "Pause"}, 'unknown field "spec.rollout.onFailure"'),
}
# What a podTemplate may not ask for is the same for both kinds.
REFUSED_SERVICES |= {
    name: ({"spec.podTemplate": {"spec": patch["spec.podTemplate.spec"]}}, words.replace("training", "serving"))
    for name, (patch, words) in REFUSED_JOBS.items()
    if "spec.podTemplate.spec" in patch
}


@pytest.fixture(scope="module")
def both_kinds(kubectl):
    """ModelService too, whether or not it is among the kinds of this release."""
    definition = json.dumps(custom_resource_definition(ModelService))
    kubectl("apply", "--server-side", "-f", "-", stdin=definition)
    established(kubectl.plane, "-f", "-", stdin=definition)
    return kubectl


class TestCreating:
    def test_a_training_job_with_every_field_is_accepted_and_kept_as_it_is(self, kubectl, namespace):
        kubectl.create(changed(TRAINING_JOB, {"metadata.namespace": namespace}))
        assert kubectl.get("trainingjob", "text-generator", namespace)["spec"] == TRAINING_JOB["spec"]

    def test_a_model_service_with_every_field_is_accepted_and_kept_as_it_is(self, both_kinds, namespace):
        both_kinds.create(changed(MODEL_SERVICE, {"metadata.namespace": namespace}))
        assert both_kinds.get("modelservice", "text-generator", namespace)["spec"] == MODEL_SERVICE["spec"]

    def test_the_smallest_training_job_gets_the_defaults_that_the_reader_has(self, kubectl, namespace):
        spec = {"source": {"configMap": {"name": "x"}}, "entrypoint": "train.py"}
        kubectl.create(TRAINING_JOB | {"metadata": {"name": "small", "namespace": namespace}, "spec": spec})
        stored = TrainingJob.model_validate(kubectl.get("trainingjob", "small", namespace))
        assert stored.spec == TrainingJob.model_validate({"metadata": {"name": "small"}, "spec": spec}).spec

    def test_every_example_is_accepted_without_an_unknown_field(self, both_kinds, namespace):
        files = sorted(EXAMPLES.glob("*/trainingjob.yaml")) + sorted(EXAMPLES.glob("*/modelservice.yaml"))
        arguments = [f"--filename={path}" for path in files]
        said = both_kinds("create", "--dry-run=server", "--validate=strict", "--namespace", namespace, *arguments)
        assert said.count(" created (server dry run)") >= len(files) > 0

    @pytest.mark.parametrize("case", REFUSED_JOBS)
    def test_a_bad_training_job_is_refused_in_plain_words(self, api, case):
        changes, words = REFUSED_JOBS[case]
        refusal = api.refusal(changed(TRAINING_JOB, changes))
        assert words in refusal

    @pytest.mark.parametrize("case", REFUSED_SERVICES)
    @pytest.mark.usefixtures("both_kinds")
    def test_a_bad_model_service_is_refused_in_plain_words(self, api, case):
        changes, words = REFUSED_SERVICES[case]
        refusal = api.refusal(changed(MODEL_SERVICE, changes))
        assert words in refusal

    @pytest.mark.parametrize(
        ("value", "text"), [([32, 16], "[32, 16]"), ([], "[]"), (["ü", True, 0.5], '["ü", true, 0.5]')]
    )
    def test_a_list_as_parameter_is_kept_and_is_one_text_in_json_for_the_script(self, api, value, text):
        stages = {"spec.parameters": {"units": value}, "spec.prepare.parameters": {"units": value}}
        kept = api.try_to_create(changed(TRAINING_JOB, stages))
        assert kept["spec"]["parameters"] == kept["spec"]["prepare"]["parameters"] == {"units": value}
        read = TrainingJob.model_validate(kept).spec
        assert read.parameters == read.prepare.parameters == {"units": text}

    def test_the_longest_list_is_a_text_that_a_trial_of_a_tuning_can_have(self, api):
        kept = api.try_to_create(changed(TRAINING_JOB, {"spec.parameters": {"units": ["x" * 60] * 64}}))
        text = TrainingJob.model_validate(kept).spec.parameters["units"]
        assert api.try_to_create(changed(TRAINING_JOB, {"spec.parameters": {"units": text}}))

    def test_a_class_that_is_a_number_needs_no_quotes(self, api):
        kept = api.try_to_create(changed(TRAINING_JOB, {"spec.evaluate.data.positive": 1}))
        assert TrainingJob.model_validate(kept).spec.evaluate.data.positive == "1"

    @pytest.mark.usefixtures("both_kinds")
    def test_arguments_and_variables_that_are_numbers_need_no_quotes(self, api):
        given = {"args": ["--threads", 5], "env": [{"name": "LIMIT", "value": 8}]}
        kept = api.try_to_create(changed(MODEL_SERVICE, {"spec.runtime": {"name": "onnxruntime"} | given}))
        runtime = ModelService.model_validate(kept).spec.runtime
        assert (runtime.args, runtime.env[0].value) == (("--threads", "5"), "8")

    @pytest.mark.parametrize("value", [True, False, 0, -3, 2**53, 0.001, "010", "true", ""])
    def test_a_parameter_keeps_value_and_type(self, api, value):
        kept = api.try_to_create(changed(TRAINING_JOB, {"spec.parameters": {"x": value}}))["spec"]["parameters"]["x"]
        assert (type(kept), kept) == (type(value), value)


# Field: another good value for it.
CHANGES: dict[str, Any] = {
    "spec.source": {"configMap": {"name": "other"}},
    "spec.framework": "Script",
    "spec.image": "other:1",
    "spec.entrypoint": "other.py",
    "spec.datasets": [{"name": "corpus", "uri": "s3://team-a/other.txt"}],
    "spec.prepare": {
        "type": "Tables",
        "datasets": [{"name": "raw", "uri": "s3://team-a/raw/"}],
        "tables": {"dataset": "raw", "split": {"train": "0.333333", "validation": "0.333333", "test": "0.333334"}},
        "output": {"name": "other"},
    },
    "spec.evaluate": {"task": "Script", "entrypoint": "evaluate.py"},
    "spec.tuning": {
        "objective": {"metric": "loss", "goal": "Minimize"},
        "space": [{"name": "units", "type": "Int", "min": "1", "max": "2"}],
        "maxTrials": 2,
    },
    "spec.storage": {"secretRef": {"name": "other"}},
    "spec.serviceAccountName": "other",
    "spec.strategy": {"type": "SingleWorker", "workers": 1},
    "spec.resources": {"limits": {"cpu": "1"}},
    "spec.podTemplate": {"spec": {"hostNetwork": False}},
    "spec.tracking": {"experiment": "other"},
    "spec.checkpoint": {"interval": "6m", "keep": 3},
    "spec.evaluation": {"gates": [{"metric": "val_accuracy", "min": "0.1"}]},
    "spec.output": {"model": "text-generator", "formats": ["TensorFlow", "ONNX"], "alias": "candidate"},
    "spec.restartPolicy": {"maxRestarts": 4},
    "spec.startDeadlineSeconds": 601,
    "spec.activeDeadlineSeconds": 86401,
}


@pytest.fixture(scope="module")
def job(kubectl):
    """A job that no test succeeds in changing: all try it without keeping the result."""
    manifest = changed(TRAINING_JOB, {"metadata.name": "immutable"})
    kubectl.create(manifest)
    return manifest


class TestChanging:
    def replaced(self, kubectl, manifest):
        return kubectl.run("replace", "--dry-run=server", "-f", "-", stdin=json.dumps(manifest))

    @pytest.mark.parametrize("field", CHANGES)
    def test_a_field_of_a_training_job_cannot_be_changed(self, kubectl, job, field):
        refused = self.replaced(kubectl, changed(job, {field: CHANGES[field]}))
        words = (
            f"{field}: Forbidden: cannot be changed, only suspend, ttlSecondsAfterFinished and schedule can: "
            "create a new object"
        )
        assert words in refused.stderr

    @pytest.mark.parametrize(
        "field",
        [
            "spec.storage",
            "spec.prepare",
            "spec.evaluate",
            "spec.tuning",
            "spec.evaluation",
            "spec.activeDeadlineSeconds",
            "spec.checkpoint",
        ],
    )
    def test_a_field_of_a_training_job_cannot_be_taken_away(self, kubectl, job, field):
        # A field with a default is changed by taking it away only where the default is another value.
        before = changed(job, {"metadata.name": "removal", "spec.checkpoint": {"interval": "7m", "keep": 3}})
        kubectl("apply", "-f", "-", stdin=json.dumps(before))
        refused = self.replaced(kubectl, changed(before, {field: ABSENT}))
        assert f"{field}: Forbidden: cannot be changed" in refused.stderr

    def test_every_immutable_field_that_cel_can_see_is_in_the_table(self):
        rules = custom_resource_definition(TrainingJob)["spec"]["versions"][0]["schema"]["openAPIV3Schema"][
            "properties"
        ]["spec"]["x-kubernetes-validations"]
        guarded = {f"spec{rule['fieldPath']}" for rule in rules if rule["message"].startswith("cannot be changed")}
        assert guarded == CHANGES.keys()

    @pytest.mark.parametrize(("field", "value"), [("spec.suspend", True), ("spec.ttlSecondsAfterFinished", 1)])
    def test_suspend_and_ttl_can_be_changed(self, kubectl, job, field, value):
        done = self.replaced(kubectl, changed(job, {field: value}))
        assert done.returncode == 0, done.stderr

    @pytest.mark.parametrize("schedule", [{"cron": "@daily"}, {"cron": "0 3 * * *", "suspend": True}])
    def test_a_schedule_can_be_changed(self, kubectl, job, schedule):
        once = {"metadata.name": "changing", "spec.ttlSecondsAfterFinished": ABSENT}
        before = changed(job, once | {"spec.schedule": {"cron": "0 3 * * *"}})
        kubectl("apply", "-f", "-", stdin=json.dumps(before))
        done = self.replaced(kubectl, changed(before, {"spec.schedule": schedule}))
        assert done.returncode == 0, done.stderr
        removed = self.replaced(kubectl, changed(before, {"spec.schedule": ABSENT}))
        assert (
            "spec.schedule: Forbidden: schedule cannot be added to a TrainingJob or removed from it" in removed.stderr
        )

    def test_a_schedule_cannot_be_added(self, kubectl, job):
        added = self.replaced(kubectl, changed(job, {"spec.schedule": {"cron": "0 3 * * *"}}))
        assert "spec.schedule: Forbidden: schedule cannot be added to a TrainingJob or removed from it" in added.stderr

    def test_a_ttl_can_be_taken_away(self, kubectl, job):
        done = self.replaced(kubectl, changed(job, {"spec.ttlSecondsAfterFinished": ABSENT}))
        assert done.returncode == 0, done.stderr

    def test_a_model_service_can_be_scaled(self, both_kinds, namespace):
        both_kinds.create(changed(MODEL_SERVICE, {"metadata.namespace": namespace}))
        both_kinds("scale", "modelservice/text-generator", "--replicas=5", "--namespace", namespace)
        assert both_kinds.get("modelservice", "text-generator", namespace)["spec"]["scaling"] == {"replicas": 5}


STATUS = TrainingJobStatus(
    observed_generation=1,
    state=State.RUNNING,
    reason="Training",
    stage=Stage.TRAIN,
    stages=(
        StageStatus(
            name=Stage.PREPARE,
            state=StageState.SUCCEEDED,
            reused=True,
            attempts=1,
            run=Run(id="child", experiment_id="3", url="http://mlflow/#/experiments/3/runs/child"),
            message="m" * 9000,
        ),
        StageStatus(name=Stage.TRAIN, state=StageState.RUNNING, attempts=1),
    ),
    dataset=PreparedDataset(
        name="cleaned", uri="s3://team-a/x/", digest="sha256:" + "0" * 64, files=3, bytes=2**40, made_by="team-a/other"
    ),
    attempt=Attempt(number=2, stage=Stage.TRAIN, job="text-generator-2"),
    history=(AttemptRecord(attempt=1, stage=Stage.PREPARE, outcome=AttemptOutcome.SUCCEEDED, reason="Prepared"),),
    tuning=TuningStatus(
        trials=TrialCounts(total=20, running=4, succeeded=7, failed=1),
        best=TrialStatus(
            name="text-generator-t3",
            uid="u",
            number=3,
            value="0.9",
            parameters={"kind": "v" * 200, "units": "16"},
            run="r3",
        ),
        image="registry.example.org/train@sha256:" + "0" * 64,
    ),
    progress=Progress(percent=45, eta_seconds=1320, epoch=5, epochs=10, step=450, steps=1000),
    metrics={"val_auc": "0.931", "loss": "NaN"},
    model=TrainedModel(
        name="team-a.text",
        approval=ModelApproval(
            state=ApprovalState.REFUSED,
            by="u" * 2000,
            at="2025-01-01T00:00:00Z",  # type: ignore[arg-type]
            reason="é" * 2000,
            recorded=True,
        ),
    ),
    conditions=(
        Condition(
            type="Ready",
            status=ConditionStatus.TRUE,
            reason="Training",
            last_transition_time="2025-01-01T00:00:00Z",  # type: ignore[arg-type]
        ),
    ),
    failure=Failure(class_=FailureClass.USER_CODE, reason="ScriptRaised", message="m" * 9000, log_tail="é" * 9000),
    columns=Columns(
        progress="45%", eta="22m", metric="val_auc=0.931", try_="1/4", workers="3/3", checkpoint="450", run="abc"
    ),
)


def write_status(kubectl, namespace, status):
    patch = json.dumps({"status": to_status_dict(status)})
    arguments = ("patch", "trainingjob", "text-generator", "--namespace", namespace, "--subresource=status")
    return kubectl.run(*arguments, "--type=merge", "--patch", patch)


class TestStatus:
    @pytest.fixture
    def running(self, kubectl, namespace):
        kubectl.create(changed(TRAINING_JOB, {"metadata.namespace": namespace}))
        done = write_status(kubectl, namespace, STATUS)
        assert done.returncode == 0, done.stderr
        return namespace

    def test_what_is_written_is_what_is_read(self, kubectl, running):
        stored = TrainingJob.model_validate(kubectl.get("trainingjob", "text-generator", running))
        assert to_status_dict(stored.status) == to_status_dict(STATUS)

    def test_kubectl_get_shows_it_in_columns(self, kubectl, running):
        header, row = kubectl("get", "tj", "--namespace", running).splitlines()
        assert header.split() == ["NAME", "STATE", "REASON", "PROGRESS", "ETA", "METRIC", "TRY", "MODEL", "AGE"]
        assert row.split()[:-1] == ["text-generator", "Running", "Training", "45%", "22m", "val_auc=0.931", "1/4", "-"]

    def test_kubectl_get_wide_shows_more(self, kubectl, running):
        header, row = kubectl("get", "tj", "--namespace", running, "--output=wide").splitlines()
        assert header.split()[-4:] == ["WORKERS", "GATE", "CHECKPOINT", "RUN"]
        assert row.split()[-4:] == ["3/3", "-", "450", "abc"]

    def test_training_jobs_can_be_selected_by_state(self, kubectl, running):
        select = ("get", "trainingjobs", "--namespace", running, "--output=name", "--field-selector")
        assert kubectl(*select, "status.state=Running").split() == ["trainingjob.headrace.dev/text-generator"]
        assert kubectl(*select, "status.state=Failed").split() == []

    def test_kubectl_can_wait_for_a_condition(self, kubectl, running):
        kubectl("wait", "--for=condition=Ready", "--timeout=10s", "tj/text-generator", "--namespace", running)


class TestTighteningARule:
    """Under a group of its own, so that the kinds of all other tests stay as they are."""

    GROUP = "ratcheting.example.com"

    def definition(self):
        definition = yaml.safe_load(yaml.safe_dump(custom_resource_definition(TrainingJob)))
        definition["metadata"]["name"] = f"trainingjobs.{self.GROUP}"
        definition["spec"]["group"] = self.GROUP
        definition["spec"]["names"] |= {"shortNames": [], "categories": []}
        return definition

    def loosened(self):
        definition = self.definition()
        spec = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
        del spec["checkpoint"]["properties"]["interval"]["x-kubernetes-validations"]
        del spec["evaluation"]["properties"]["gates"]["items"]["x-kubernetes-validations"]
        return definition

    def before_slices(self):
        """As a release had it whose checks were told apart by their metric alone."""
        definition = self.loosened()
        status = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]
        checks = status["model"]["properties"]["gate"]["properties"]["checks"]
        checks["x-kubernetes-list-map-keys"] = ["metric"]
        del checks["items"]["properties"]["slice"]
        return definition

    def apply(self, kubectl, definition):
        kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(definition))
        established(kubectl.plane, f"crd/trainingjobs.{self.GROUP}")

    def test_leaves_older_objects_usable(self, kubectl, api, namespace):
        old = changed(
            TRAINING_JOB | {"apiVersion": f"{self.GROUP}/v1alpha1"},
            {
                "metadata.namespace": namespace,
                "spec.checkpoint.interval": "1s",
                "spec.evaluation.gates": [{"metric": "a"}],
            },
        )
        self.apply(kubectl, self.before_slices())
        eventually(lambda: api.try_to_create(old)["kind"] == "TrainingJob")
        kubectl.create(old)
        patch = ("patch", f"trainingjobs.{self.GROUP}", "text-generator", "--namespace", namespace, "--type=merge")
        judged = {"passed": True, "checks": [{"metric": "a", "passed": True}]}
        kubectl(*patch, "--subresource=status", "--patch", json.dumps({"status": {"model": {"gate": judged}}}))
        self.apply(kubectl, self.definition())
        eventually(lambda: api.try_to_create(changed(old, {"metadata.name": "new"}))["kind"] == "Status")

        sliced = [{"metric": "a", "slice": name, "passed": True} for name in ("", "b=c")]
        gate = {"model": {"gate": judged | {"checks": sliced}}}
        kubectl(*patch, "--subresource=status", "--patch", json.dumps({"status": gate}))
        kubectl(*patch, "--subresource=status", "--patch", json.dumps({"status": to_status_dict(STATUS)}))
        kubectl(*patch, "--patch", json.dumps({"spec": {"suspend": True}}))
        stored = kubectl.get(f"trainingjobs.{self.GROUP}", "text-generator", namespace)
        assert (stored["spec"]["suspend"], stored["status"]["state"]) == (True, "Running")
        assert stored["status"]["model"]["gate"]["checks"] == sliced


class TestExplaining:
    @pytest.mark.parametrize(
        ("path", "words"),
        [
            ("tj.spec.checkpoint.interval", "Default: 5m."),
            ("tj.spec.strategy.workers", "From 1 to 64."),
            ("tj.spec.evaluation.gates.min", 'a decimal in quotes, such as "0.2"'),
            ("tj.status.failure.class", "Which kind of failure it was."),
            ("tj.spec.podTemplate.spec.hostNetwork", "Refused when true."),
        ],
    )
    def test_kubectl_explain_tells_what_a_field_is_and_takes(self, both_kinds, path, words):
        assert words in re.sub(r"\s+", " ", both_kinds("explain", path))

    def test_kubectl_get_by_category_lists_both_kinds(self, both_kinds, namespace):
        both_kinds.create(*(changed(one, {"metadata.namespace": namespace}) for one in (TRAINING_JOB, MODEL_SERVICE)))
        listed = both_kinds("get", "headrace", "--namespace", namespace, "--output=name").split()
        assert sorted(listed) == ["modelservice.headrace.dev/text-generator", "trainingjob.headrace.dev/text-generator"]
