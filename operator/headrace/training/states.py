"""The reasons that a TrainingJob's status uses, each spelled once, and what a failure means for the next attempt."""

from __future__ import annotations

from dataclasses import dataclass

from headrace.api.common import FailureClass
from headrace.api.trainingjob import State
from headrace_common.protocol import reasons as told

FINAL_STATES = frozenset({State.SUCCEEDED, State.FAILED})


class Reason:
    """Reasons of states, conditions and failures. CamelCase; docs/reference/failures.md has those of failures. The
    launcher's words are those of the protocol.
    """

    ACCEPTED = "Accepted"
    ALL_FORMATS_EXPORTED = "AllFormatsExported"
    SOME_FORMATS_FAILED = "SomeFormatsFailed"
    EXPORT_TRIAL_PASSED = "ExportTrialPassed"
    EXPORT_TRIAL_FAILED = "ExportTrialFailed"
    SOURCE_NOT_FOUND = "SourceNotFound"
    ENTRYPOINT_NOT_FOUND = told.Reason.ENTRYPOINT_NOT_FOUND.value
    NAME_IN_USE = "NameInUse"
    WAITING_FOR_PODS = "WaitingForPods"
    REFUSED = "Refused"
    PODS_REFUSED = "PodsRefused"
    WAITING_FOR_QUOTA = "WaitingForQuota"
    UNSCHEDULABLE = "Unschedulable"
    IMAGE_PULL = "ImagePull"
    INVALID_IMAGE_NAME = "InvalidImageName"
    CONTAINER_CONFIG = "ContainerConfig"
    CONTAINER_FAILED = "ContainerFailed"
    VOLUMES_NOT_READY = "VolumesNotReady"
    SANDBOX_NOT_CREATED = "SandboxNotCreated"
    CREATING_CONTAINERS = "CreatingContainers"
    PREPARING = "Preparing"
    INSTALLING_PACKAGES = "InstallingPackages"
    RESUMING = "Resuming"
    TRAINING = "Training"
    EXPORTING = "Exporting"
    UPLOADING = "Uploading"
    ENDING = "Ending"
    SUSPENDED_BY_USER = "SuspendedByUser"
    PREPARING_DATA = "PreparingData"
    PREPARED = "Prepared"
    NO_DATASET = told.Reason.NO_DATASET.value
    TRAINED = "Trained"
    TUNING = "Tuning"
    TUNED = "Tuned"
    TRIAL_ENDED = "TrialEnded"
    TRIAL_ORPHANED = "TrialOrphaned"
    TRIALS_FAILED = "TrialsFailed"
    OBJECTIVE_NOT_REPORTED = "ObjectiveNotReported"
    NO_TRIAL_SUCCEEDED = "NoTrialSucceeded"
    TUNING_ENDED_EARLY = "TuningEndedEarly"
    TUNING_NOT_ANSWERING = "TuningNotAnswering"
    TRIAL_MODELS_STAY = "TrialModelsStay"
    EVALUATING = "Evaluating"
    EVALUATED = "Evaluated"
    NO_EVALUATION = "NoEvaluation"
    EVALUATED_MODEL_CHANGED = told.Reason.EVALUATED_MODEL_CHANGED.value
    BASELINE_UNREADABLE = told.Reason.BASELINE_UNREADABLE.value
    NO_BASELINE = "NoBaseline"
    BASELINE_NOT_FOUND = "BaselineNotFound"
    COMPARED = "Compared"
    EXPLAINED = "Explained"
    NOT_EXPLAINED = "NotExplained"
    JUDGING = "Judging"
    GATE_PASSED = "GatePassed"
    GATE_FAILED = "GateFailed"
    OUT_OF_MEMORY = told.Reason.OUT_OF_MEMORY.value
    PROCESS_KILLED = "ProcessKilled"
    SCRIPT_EXITED = told.Reason.SCRIPT_EXITED.value
    COMMAND_NOT_FOUND = "CommandNotFound"
    EVICTED = "Evicted"
    PREEMPTED = "Preempted"
    NODE_LOST = "NodeLost"
    POD_DELETED = "PodDeleted"
    POD_REFUSED = "PodRefusedByNode"
    JOB_DELETED = "JobDeleted"
    STORAGE_LIMIT = "StorageLimit"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    NO_RECORD = "NoRecord"
    TRACKING_UNAVAILABLE = told.Reason.TRACKING_UNAVAILABLE.value
    RUN_DELETED = told.Reason.RUN_DELETED.value
    TRACKING_NOT_CONFIGURED = "TrackingNotConfigured"
    STORAGE_UNAVAILABLE = told.Reason.STORAGE_UNAVAILABLE.value
    PACKAGE_INDEX_UNAVAILABLE = told.Reason.PACKAGE_INDEX_UNAVAILABLE.value
    TENANT_NOT_FOUND = "TenantNotFound"
    DIGEST_MISMATCH = "DigestMismatch"
    AMBIGUOUS_MODEL = told.AMBIGUOUS_MODEL
    REQUIRED_FORMAT_MISSING = "RequiredFormatMissing"
    MODEL_MISSING = "ModelMissing"
    REGISTERED = "Registered"
    AWAITING_APPROVAL = "AwaitingApproval"
    APPROVED = "Approved"
    APPROVAL_REFUSED = "ApprovalRefused"
    APPROVAL_NOT_ENFORCED = "ApprovalNotEnforced"
    WAITING_FOR_SCHEDULE = "WaitingForSchedule"
    TRAINING_ON_SCHEDULE = "TrainingOnSchedule"
    SCHEDULE_SUSPENDED = "ScheduleSuspended"
    SCHEDULE_INVALID = "ScheduleInvalid"
    JOB_REFUSED = "JobRefused"
    JOB_SUSPENDED = "JobSuspended"
    MANAGED_BY_MISSING = "ManagedByMissing"
    START_DEADLINE_EXCEEDED = "StartDeadlineExceeded"
    TRAINING_DELETED = "TrainingDeleted"


@dataclass(frozen=True)
class FailureRule:
    """What follows from a failure: is there a next attempt, and does it count against maxRestarts."""

    retryable: bool
    counted: bool


FAILURE_RULES: dict[FailureClass, FailureRule] = {
    FailureClass.USER_CODE: FailureRule(retryable=True, counted=True),
    FailureClass.CONFIG: FailureRule(retryable=False, counted=False),
    FailureClass.OOM: FailureRule(retryable=True, counted=True),
    FailureClass.KILLED: FailureRule(retryable=True, counted=True),
    FailureClass.DISRUPTED: FailureRule(retryable=True, counted=False),
    FailureClass.STORAGE: FailureRule(retryable=True, counted=True),
    FailureClass.TRACKING: FailureRule(retryable=True, counted=False),
    FailureClass.SCHEDULING: FailureRule(retryable=False, counted=False),
    FailureClass.IMAGE: FailureRule(retryable=False, counted=False),
    FailureClass.DATA: FailureRule(retryable=False, counted=False),
    FailureClass.DEADLINE: FailureRule(retryable=False, counted=False),
    FailureClass.GATE: FailureRule(retryable=False, counted=False),
    FailureClass.PEER: FailureRule(retryable=True, counted=True),
}

# Where one reason differs from its class.
REASON_RULES: dict[str, FailureRule] = {
    told.Reason.SCRIPT_INVALID: FailureRule(retryable=False, counted=False),
    told.Reason.NOTHING_TRAINED: FailureRule(retryable=False, counted=False),
    told.Reason.ENDED_BEFORE_EXPORT: FailureRule(retryable=False, counted=False),
    Reason.TRIALS_FAILED: FailureRule(retryable=False, counted=False),
    Reason.STORAGE_UNAVAILABLE: FailureRule(retryable=True, counted=False),
    Reason.PACKAGE_INDEX_UNAVAILABLE: FailureRule(retryable=True, counted=False),
    told.Reason.STORAGE_FORBIDDEN: FailureRule(retryable=False, counted=False),
    told.Reason.BUCKET_NOT_FOUND: FailureRule(retryable=False, counted=False),
    told.Reason.TRACKING_FORBIDDEN: FailureRule(retryable=False, counted=False),
}


def rule_for(failure_class: FailureClass, reason: str) -> FailureRule:
    """The rule of a failure: that of its reason where it has one, else that of its class."""
    return REASON_RULES.get(reason, FAILURE_RULES[failure_class])
