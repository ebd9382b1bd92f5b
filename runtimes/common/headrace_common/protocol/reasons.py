"""How a worker's attempt may end, in the words of the launcher that the operator knows too. The operator has more of
them, for what the cluster alone can see; docs/reference/failures.md has all.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class FailureClass(StrEnum):
    """Who has to do something about it."""

    USER_CODE = "UserCode"
    CONFIG = "Config"
    OOM = "OOM"
    KILLED = "Killed"
    DATA = "Data"
    STORAGE = "Storage"
    TRACKING = "Tracking"
    PEER = "Peer"
    DISRUPTED = "Disrupted"
    SCHEDULING = "Scheduling"


class Reason(StrEnum):
    """What happened; RULES gives each its class and exit code."""

    SCRIPT_RAISED = "ScriptRaised"
    SCRIPT_EXITED = "ScriptExited"
    SCRIPT_INVALID = "ScriptInvalid"
    NOTHING_TRAINED = "NothingTrained"
    ENDED_BEFORE_EXPORT = "EndedBeforeExport"
    PACKAGE_MISSING = "PackageMissing"
    PACKAGES_NOT_INSTALLED = "PackagesNotInstalled"
    PACKAGE_INDEX_UNAVAILABLE = "PackageIndexUnavailable"
    ENTRYPOINT_NOT_FOUND = "EntrypointNotFound"
    BAD_CONFIG = "BadConfig"
    GPU_NOT_VISIBLE = "GpuNotVisible"
    OUT_OF_MEMORY = "OutOfMemory"
    CHILD_KILLED = "ChildKilled"
    LAUNCHER_FAILED = "LauncherFailed"
    DATASET_NOT_FOUND = "DatasetNotFound"
    DATASET_FORBIDDEN = "DatasetForbidden"
    DATASET_CHANGED = "DatasetChanged"
    DATASET_NOT_UNPACKED = "DatasetNotUnpacked"
    DATASET_TOO_LARGE = "DatasetTooLarge"
    DATASET_NOT_DIVIDED = "DatasetNotDivided"
    NO_DATASET = "NoDataset"
    DATA_UNREADABLE = "DataUnreadable"
    EVALUATED_MODEL_CHANGED = "EvaluatedModelChanged"
    BASELINE_UNREADABLE = "BaselineUnreadable"
    EVALUATION_FAILED = "EvaluationFailed"
    TABLE_UNREADABLE = "TableUnreadable"
    SCHEMA_VIOLATED = "SchemaViolated"
    COLUMN_NOT_FOUND = "ColumnNotFound"
    COLUMN_UNUSABLE = "ColumnUnusable"
    PRIVATE_DATA_FOUND = "PrivateDataFound"
    SPLIT_EMPTY = "SplitEmpty"
    SPLIT_LEAKS = "SplitLeaks"
    SPARK_NOT_ALLOWED = "SparkNotAllowed"
    SPARK_EXECUTORS_PENDING = "SparkExecutorsPending"
    STORAGE_UNAVAILABLE = "StorageUnavailable"
    STORAGE_FORBIDDEN = "StorageForbidden"
    BUCKET_NOT_FOUND = "BucketNotFound"
    TRACKING_UNAVAILABLE = "TrackingUnavailable"
    TRACKING_FORBIDDEN = "TrackingForbidden"
    RUN_DELETED = "RunDeleted"
    PEER_NOT_FOUND = "PeerNotFound"
    PEER_LOST = "PeerLost"
    TERMINATED = "Terminated"


RULES: Mapping[Reason, tuple[FailureClass, int]] = {
    Reason.SCRIPT_RAISED: (FailureClass.USER_CODE, 1),
    Reason.SCRIPT_EXITED: (FailureClass.USER_CODE, 1),
    Reason.SCRIPT_INVALID: (FailureClass.USER_CODE, 2),
    Reason.NOTHING_TRAINED: (FailureClass.USER_CODE, 2),
    Reason.ENDED_BEFORE_EXPORT: (FailureClass.USER_CODE, 2),
    Reason.PACKAGE_MISSING: (FailureClass.CONFIG, 2),
    Reason.PACKAGES_NOT_INSTALLED: (FailureClass.CONFIG, 2),
    Reason.PACKAGE_INDEX_UNAVAILABLE: (FailureClass.STORAGE, 4),
    Reason.ENTRYPOINT_NOT_FOUND: (FailureClass.CONFIG, 2),
    Reason.BAD_CONFIG: (FailureClass.CONFIG, 2),
    Reason.GPU_NOT_VISIBLE: (FailureClass.CONFIG, 2),
    Reason.OUT_OF_MEMORY: (FailureClass.OOM, 3),
    Reason.CHILD_KILLED: (FailureClass.KILLED, 3),
    Reason.LAUNCHER_FAILED: (FailureClass.KILLED, 3),
    Reason.DATASET_NOT_FOUND: (FailureClass.DATA, 2),
    Reason.DATASET_FORBIDDEN: (FailureClass.DATA, 2),
    Reason.DATASET_CHANGED: (FailureClass.DATA, 2),
    Reason.DATASET_NOT_UNPACKED: (FailureClass.DATA, 2),
    Reason.DATASET_TOO_LARGE: (FailureClass.DATA, 2),
    Reason.DATASET_NOT_DIVIDED: (FailureClass.DATA, 2),
    Reason.NO_DATASET: (FailureClass.CONFIG, 2),
    Reason.DATA_UNREADABLE: (FailureClass.DATA, 2),
    Reason.EVALUATED_MODEL_CHANGED: (FailureClass.DATA, 2),
    Reason.BASELINE_UNREADABLE: (FailureClass.DATA, 2),
    Reason.EVALUATION_FAILED: (FailureClass.CONFIG, 2),
    Reason.TABLE_UNREADABLE: (FailureClass.DATA, 2),
    Reason.SCHEMA_VIOLATED: (FailureClass.DATA, 2),
    Reason.COLUMN_NOT_FOUND: (FailureClass.DATA, 2),
    Reason.COLUMN_UNUSABLE: (FailureClass.DATA, 2),
    Reason.PRIVATE_DATA_FOUND: (FailureClass.DATA, 2),
    Reason.SPLIT_EMPTY: (FailureClass.DATA, 2),
    Reason.SPLIT_LEAKS: (FailureClass.DATA, 2),
    Reason.SPARK_NOT_ALLOWED: (FailureClass.CONFIG, 2),
    Reason.SPARK_EXECUTORS_PENDING: (FailureClass.SCHEDULING, 2),
    Reason.STORAGE_UNAVAILABLE: (FailureClass.STORAGE, 4),
    Reason.STORAGE_FORBIDDEN: (FailureClass.STORAGE, 4),
    Reason.BUCKET_NOT_FOUND: (FailureClass.STORAGE, 4),
    Reason.TRACKING_UNAVAILABLE: (FailureClass.TRACKING, 4),
    Reason.TRACKING_FORBIDDEN: (FailureClass.TRACKING, 4),
    Reason.RUN_DELETED: (FailureClass.TRACKING, 4),
    Reason.PEER_NOT_FOUND: (FailureClass.PEER, 5),
    Reason.PEER_LOST: (FailureClass.PEER, 5),
    Reason.TERMINATED: (FailureClass.DISRUPTED, 6),
}

# A success without a model, where one was asked for.
AMBIGUOUS_MODEL = "AmbiguousModel"
