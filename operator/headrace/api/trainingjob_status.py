"""Status of a TrainingJob: what the operator tells people and remembers between two reconciles."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self, TypedDict, Unpack

from pydantic import Field

from headrace.api.base import SET, Model, Schema, list_map
from headrace.api.common import Failure, FailureClass
from headrace.api.meta import Condition
from headrace.api.scalars import (
    Cell,
    Count,
    DecimalString,
    Line,
    Message,
    MetricValue,
    Name,
    Reason,
    Time,
    Word,
)
from headrace.api.schedule import ScheduleStatus


class State(StrEnum):
    """Where a TrainingJob is. Scheduled: it waits for its times, and others train."""

    PENDING = "Pending"
    SCHEDULED = "Scheduled"
    SUSPENDED = "Suspended"
    QUEUED = "Queued"
    STARTING = "Starting"
    RUNNING = "Running"
    RESTARTING = "Restarting"
    FINISHING = "Finishing"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


class Stage(StrEnum):
    """A part of a job that has pods of its own."""

    PREPARE = "Prepare"
    TRAIN = "Train"
    TUNE = "Tune"
    EVALUATE = "Evaluate"


class StageState(StrEnum):
    """Where a stage is. NotRun: the job ended before it."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    NOT_RUN = "NotRun"


class AttemptOutcome(StrEnum):
    """How an attempt ended. Interrupted: by no fault of its own (class Disrupted)."""

    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    INTERRUPTED = "Interrupted"
    SUSPENDED = "Suspended"


class AttemptChanges(TypedDict, total=False):
    """The fields of an attempt, for its `evolve`."""

    number: Count
    stage: Stage | None
    job: Name
    job_uid: Name | None
    image: Line | None
    image_id: Line | None
    started_at: Time | None
    active_since: Time | None
    finished_at: Time | None


class Attempt(Model):
    """The attempt under way, or the last one."""

    number: Annotated[Count, Schema("Number of the attempt, from 1, counted through over all stages.")]
    stage: Annotated[Stage | None, Schema("The stage that it is of; absent in a job without stages.")] = None
    job: Annotated[Name, Schema("Name of its Job.")]
    job_uid: Annotated[Name | None, Schema("UID of its Job.")] = None
    image: Annotated[Line | None, Schema("The image that the attempt was started with.")] = None
    image_id: Annotated[Line | None, Schema("The image's digest as the pods report it.")] = None
    started_at: Annotated[Time | None, Schema("When the attempt was started.")] = None
    active_since: Annotated[
        Time | None, Schema("When its Job began to count its time; absent while a queue holds it back.")
    ] = None
    finished_at: Annotated[Time | None, Schema("When the attempt was over; absent while it is under way.")] = None

    def evolve(self, **changes: Unpack[AttemptChanges]) -> Self:
        """The attempt with these fields changed."""
        return self.model_copy(update=changes)


class Progress(Model):
    """How far the training is, in the fit that is under way: how many follow nobody knows."""

    percent: Annotated[int | None, Schema("Share of the steps done, in percent.", minimum=0, maximum=100)] = None
    eta_seconds: Annotated[Count | None, Schema("Seconds until the last step, at the present pace.")] = None
    epoch: Annotated[Count | None, Schema("The epoch being trained, from 1.")] = None
    epochs: Annotated[Count | None, Schema("Number of epochs.")] = None
    step: Annotated[Count | None, Schema("Steps done.")] = None
    steps: Annotated[Count | None, Schema("Steps in all.")] = None
    fit: Annotated[Count | None, Schema("Which `fit` of the script is under way, from 1.")] = None
    executors: Annotated[
        Count | None, Schema("Of a preparation by Spark, whose steps are Spark's stages: the executors that are there.")
    ] = None
    executors_lost: Annotated[
        Count | None, Schema("Executors that are gone. What they had under way is done again by the others.")
    ] = None


class Worker(Model):
    """One worker's pod."""

    index: Annotated[int, Schema("Index of the worker; 0 is the chief.", minimum=0, maximum=63)]
    pod: Annotated[Name | None, Schema("Its pod.")] = None
    phase: Annotated[Word, Schema("Phase of the pod, or why it does not start.")]
    node: Annotated[Name | None, Schema("The node that it runs on.")] = None


class RunChanges(TypedDict, total=False):
    """The fields of a run, for its `evolve`."""

    id: Word
    experiment: Name | None
    experiment_id: Word | None
    url: Line | None
    ended: bool | None


class Run(Model):
    """The MLflow run that records this job; one run over all attempts."""

    id: Annotated[Word, Schema("ID of the run.")]
    experiment: Annotated[Name | None, Schema("Name of the experiment in MLflow.")] = None
    experiment_id: Annotated[Word | None, Schema("ID of the experiment.")] = None
    url: Annotated[Line | None, Schema("Where a browser shows the run.")] = None
    ended: Annotated[bool | None, Schema("Set once a job that failed for good has ended its run.")] = None

    def evolve(self, **changes: Unpack[RunChanges]) -> Self:
        """The run with these fields changed."""
        return self.model_copy(update=changes)


class StageStatusChanges(TypedDict, total=False):
    """The fields of a stage, for its `evolve`."""

    name: Stage
    state: StageState
    reused: bool | None
    attempts: Count
    started_at: Time | None
    finished_at: Time | None
    run: Run | None
    message: Message | None


class StageStatus(Model):
    """One stage of a job that has stages."""

    name: Annotated[Stage, Schema("Which stage it is.")]
    state: Annotated[StageState, Schema("Where it is. NotRun: the job ended before it.")] = StageState.PENDING
    reused: Annotated[
        bool | None, Schema("Set where the same was done before: what came of it was taken, and no script was run.")
    ] = None
    attempts: Annotated[Count, Schema("How many attempts it took.")] = 0
    started_at: Annotated[Time | None, Schema("When its first attempt was started.")] = None
    finished_at: Annotated[Time | None, Schema("When it ended, either way.")] = None
    run: Annotated[
        Run | None, Schema("Its own MLflow run, a child of the job's. The training's is the job's own: status.run.")
    ] = None
    message: Annotated[Message | None, Schema("What came of it.")] = None

    def evolve(self, **changes: Unpack[StageStatusChanges]) -> Self:
        """The stage with these fields changed."""
        return self.model_copy(update=changes)


class PreparedDataset(Model):
    """The dataset that the stage Prepare has made, or found made."""

    name: Annotated[Name, Schema("Its name: the training finds it at /data/NAME.")]
    uri: Annotated[Line, Schema("Where its files lie.")]
    digest: Annotated[Word, Schema("Its identity: sha256 over the names and contents of its files.")]
    files: Annotated[Count, Schema("How many files it has.")] = 0
    bytes: Annotated[Count, Schema("Their size together.")] = 0
    made_by: Annotated[Line | None, Schema("The TrainingJob that made it, as NAMESPACE/NAME.")] = None
    reused: Annotated[bool, Schema("Whether an earlier job made it, so that no script was run.")] = False


class BaselineVersion(Model):
    """The version that the model is compared with, as its alias pointed when the stage Evaluate began."""

    alias: Annotated[Word, Schema("The alias.")]
    version: Annotated[Word, Schema("The version that it pointed at.")]
    digest: Annotated[Word, Schema("The version's identity: sha256 of its manifest.")]
    uri: Annotated[Line, Schema("Where its artifact lies.")]


class EvaluationStatusChanges(TypedDict, total=False):
    """The fields of an evaluation, for its `evolve`."""

    format: Word | None
    baseline: BaselineVersion | None
    samples: Count | None


class EvaluationStatus(Model):
    """What the stage Evaluate judges, and on how many rows."""

    format: Annotated[Word | None, Schema("The format that is run; absent with task Script.")] = None
    baseline: Annotated[
        BaselineVersion | None, Schema("The version that is compared with; absent where there is none.")
    ] = None
    samples: Annotated[
        Count | None,
        Schema("Number of rows that were judged on; absent until the stage has ended, and with task Script."),
    ] = None

    def evolve(self, **changes: Unpack[EvaluationStatusChanges]) -> Self:
        """The evaluation with these fields changed."""
        return self.model_copy(update=changes)


class TrialCounts(Model):
    """How many trials there are, and what became of them."""

    total: Annotated[Count, Schema("How many there will be.")]
    running: Annotated[Count, Schema("Begun, and not ended; suspended with the job too.")] = 0
    succeeded: Annotated[Count, Schema("Ended with a value of the objective.")] = 0
    failed: Annotated[Count, Schema("Ended without one.")] = 0
    pruned: Annotated[Count | None, Schema("Stopped before their end, by tuning.pruner.")] = None
    deleted: Annotated[Count | None, Schema("Not ended when the job failed, and deleted with that.")] = None


class TrialStatus(Model):
    """A trial that ended well."""

    name: Annotated[Name, Schema("The TrainingJob.")]
    uid: Annotated[Name, Schema("Its uid.")]
    number: Annotated[Count, Schema("Its number, from 0.")]
    value: Annotated[MetricValue, Schema("The objective's value.")]
    parameters: Annotated[
        dict[str, Annotated[str, Schema("As the script was given it.", maxLength=128)]],
        Schema("The parameters that were tuned.", maxProperties=32),
    ] = Field(default_factory=dict)
    run: Annotated[Word | None, Schema("Its MLflow run, where it has told of one.")] = None


class TuningStatus(Model):
    """How far the trials are."""

    trials: Annotated[TrialCounts, Schema("How many there are.")]
    best: Annotated[TrialStatus | None, Schema("The best one so far; absent until one has ended well.")] = None
    image: Annotated[
        Line | None,
        Schema(
            "The image that all trials run, by its digest where a registry has it; absent until the first trial has "
            "told which one it is."
        ),
    ] = None


class GateCheck(Model):
    """One gate and what was measured."""

    metric: Annotated[str, Schema("The metric judged; evaluate/NAME is one of the stage Evaluate.", maxLength=144)]
    slice: Annotated[
        str,
        Schema(
            "The rows that it was measured on, as COLUMN=VALUE, or the sensitive column; empty: all.", maxLength=200
        ),
    ] = ""
    averaged: Annotated[
        str | None,
        Schema(
            "Of precision, recall and f1 of the stage Evaluate: the class that they are of, as LABEL=CLASS "
            "(evaluate.data.positive), or: mean over classes.",
            maxLength=200,
        ),
    ] = None
    value: Annotated[MetricValue | None, Schema("Its value at the end; absent when the run has no such metric.")] = None
    baseline: Annotated[MetricValue | None, Schema("The baseline's value on the same rows.")] = None
    low: Annotated[
        MetricValue | None,
        Schema("Lower end of the interval that the difference to the baseline (value less baseline) lies in."),
    ] = None
    high: Annotated[MetricValue | None, Schema("Its upper end.")] = None
    worse_by: Annotated[
        MetricValue | None,
        Schema(
            "At least this much worse than the baseline is the model, at that confidence; negative: it may be better."
        ),
    ] = None
    min: Annotated[DecimalString | None, Schema("The least that was asked for.")] = None
    max: Annotated[DecimalString | None, Schema("The most that was asked for.")] = None
    max_regression: Annotated[DecimalString | None, Schema("How much worse than the baseline it may be.")] = None
    confidence: Annotated[DecimalString | None, Schema("How sure that has to be for the gate to fail.")] = None
    samples: Annotated[Count | None, Schema("Number of rows that it was measured on.")] = None
    compared: Annotated[
        bool | None,
        Schema(
            "Where maxRegression was asked for: whether there was a baseline to compare with. If false, only min and "
            "max were judged, and passed says nothing of maxRegression."
        ),
    ] = None
    passed: Annotated[bool, Schema("Whether the value was within.")]


class Gate(Model):
    """The verdict on the model."""

    passed: Annotated[bool, Schema("Whether every check passed.")]
    checks: Annotated[
        tuple[GateCheck, ...],
        Schema("Each gate of spec.evaluation and spec.evaluate.", maxItems=64, **list_map("metric", "slice")),
    ] = ()


class ApprovalState(StrEnum):
    """Where the approval of a version is."""

    AWAITING = "Awaiting"
    APPROVED = "Approved"
    REFUSED = "Refused"


class ModelApprovalChanges(TypedDict, total=False):
    """The fields of an approval, for its `evolve`."""

    required: bool
    state: ApprovalState
    by: Line | None
    at: Time | None
    reason: Line | None
    recorded: bool | None
    alias_reserved_by: str | None


class ModelApproval(Model):
    """What a person has said of the version. The first decision stands."""

    required: Annotated[bool, Schema("Whether the version waits for a decision.")] = True
    state: Annotated[ApprovalState, Schema("Awaiting, Approved or Refused.")] = ApprovalState.AWAITING
    by: Annotated[Line | None, Schema("Who decided: the user name that the API server knows.")] = None
    at: Annotated[Time | None, Schema("When the operator took the decision.")] = None
    reason: Annotated[Line | None, Schema("Why, as the person wrote it.")] = None
    recorded: Annotated[
        bool | None, Schema("Set once the decision is in MLflow, and the alias points at an approved version.")
    ] = None
    alias_reserved_by: Annotated[
        Line | None,
        Schema(
            "The ModelService, as NAMESPACE/NAME, whose promotion alias spec.output.alias is: that alias is moved by "
            "its rollouts alone, and by no approval. Found when the version was registered."
        ),
    ] = None

    def evolve(self, **changes: Unpack[ModelApprovalChanges]) -> Self:
        """The approval with these fields changed."""
        return self.model_copy(update=changes)


class TrainedModelChanges(TypedDict, total=False):
    """The fields of a trained model, for its `evolve`."""

    name: Name | None
    version: Word | None
    digest: Word | None
    uri: Line | None
    formats: tuple[Word, ...] | None
    gate: Gate | None
    alias: Word | None
    approval: ModelApproval | None


class TrainedModel(Model):
    """The model that came out of the training."""

    name: Annotated[Name | None, Schema("The registered model's name in MLflow: NAMESPACE.NAME.")] = None
    version: Annotated[Word | None, Schema("The model version in MLflow.")] = None
    digest: Annotated[Word | None, Schema("The model's identity: sha256 of its manifest.")] = None
    uri: Annotated[Line | None, Schema("Where the artifact lies.")] = None
    formats: Annotated[
        tuple[Word, ...] | None, Schema("The formats that it has; told of a trial's alone.", maxItems=8, **SET)
    ] = None
    gate: Annotated[Gate | None, Schema("The verdict of spec.evaluation and spec.evaluate.")] = None
    alias: Annotated[Word | None, Schema("The alias that was pointed at this version.")] = None
    approval: Annotated[
        ModelApproval | None, Schema("The decision of a person; absent where spec.output asks for none.")
    ] = None

    def evolve(self, **changes: Unpack[TrainedModelChanges]) -> Self:
        """The model with these fields changed."""
        return self.model_copy(update=changes)


class CheckpointStatus(Model):
    """The newest complete checkpoint."""

    uri: Annotated[Line, Schema("Where it lies.")]
    step: Annotated[Count | None, Schema("The step after which it was taken.")] = None
    epoch: Annotated[Count | None, Schema("The epoch in which it was taken.")] = None
    time: Annotated[Time | None, Schema("When it was taken.")] = None


class Resume(Model):
    """Where the present attempt took up the work of an earlier one."""

    attempt: Annotated[Count, Schema("The attempt whose checkpoint was loaded.")]
    step: Annotated[Count | None, Schema("The step after which it went on.")] = None
    exact: Annotated[
        bool | None, Schema("Whether the steps trained again gave the losses that had been logged; absent until known.")
    ] = None
    message: Annotated[Line, Schema("Why the resume is not exact.")] = ""


class AttemptRecord(Model):
    """An attempt that ended."""

    attempt: Annotated[Count, Schema("Number of the attempt, from 1.")]
    stage: Annotated[Stage | None, Schema("The stage that it was of; absent in a job without stages.")] = None
    job: Annotated[Name | None, Schema("Name of its Job.")] = None
    started_at: Annotated[Time | None, Schema("When it started.")] = None
    finished_at: Annotated[Time | None, Schema("When it ended.")] = None
    outcome: Annotated[AttemptOutcome, Schema("How it ended.")]
    class_: Annotated[FailureClass | None, Schema("The class of its failure.")] = None
    reason: Annotated[Word | None, Schema("The cause of its end.")] = None
    counted: Annotated[bool, Schema("Whether it counts against restartPolicy.maxRestarts.")] = False


class SourceStatus(Model):
    """The source as it was when the first attempt started: of all stages that run from it."""

    config_map: Annotated[Name | None, Schema("The ConfigMap.")] = None
    resource_version: Annotated[Word | None, Schema("Its resourceVersion.")] = None
    hash: Annotated[Word | None, Schema("sha256 of its contents.")] = None


class Columns(Model):
    """What `kubectl get` prints, as text."""

    progress: Annotated[
        Cell,
        Schema(
            "PROGRESS: share of the steps done, or the step where their number is not known; behind the stage, where "
            "there are stages."
        ),
    ] = "-"
    eta: Annotated[Cell, Schema("ETA: time until the last step.")] = "-"
    metric: Annotated[Cell, Schema("METRIC: one metric and its value.")] = "-"
    try_: Annotated[Cell, Schema("TRY: attempts that count, of those allowed.")] = "-"
    workers: Annotated[Cell, Schema("WORKERS: running, of all.")] = "-"
    gate: Annotated[Cell, Schema("GATE: Passed or Failed.")] = "-"
    model: Annotated[Cell, Schema("MODEL: name and version.")] = "-"
    checkpoint: Annotated[Cell, Schema("CHECKPOINT: step of the newest one.")] = "-"
    run: Annotated[Cell, Schema("RUN: the MLflow run; until it is known, that of the stage under way.")] = "-"


class TrainingJobStatusChanges(TypedDict, total=False):
    """The fields of a status, for its `evolve`."""

    observed_generation: Count | None
    state: State | None
    reason: Reason | None
    message: Message | None
    stage: Stage | None
    stages: tuple[StageStatus, ...]
    conditions: tuple[Condition, ...]
    start_time: Time | None
    completion_time: Time | None
    next_attempt_at: Time | None
    attempt: Attempt | None
    active_seconds: Count | None
    attempts_counted: Count
    progress: Progress | None
    metrics: dict[str, MetricValue]
    workers: tuple[Worker, ...]
    run: Run | None
    dataset: PreparedDataset | None
    evaluation: EvaluationStatus | None
    tuning: TuningStatus | None
    model: TrainedModel | None
    checkpoint: CheckpointStatus | None
    resume: Resume | None
    failure: Failure | None
    history: tuple[AttemptRecord, ...]
    source: SourceStatus | None
    schedule: ScheduleStatus | None
    columns: Columns


class TrainingJobStatus(Model):
    """Observed state; written by the operator only."""

    observed_generation: Annotated[Count | None, Schema("The metadata.generation that this status speaks of.")] = None
    state: Annotated[State | None, Schema("Where the job is.")] = None
    reason: Annotated[Reason | None, Schema("Why, as one CamelCase word.")] = None
    message: Annotated[Message | None, Schema("Why, and what to do about it.")] = None
    stage: Annotated[Stage | None, Schema("The stage under way, or the last one; absent in a job without stages.")] = (
        None
    )
    stages: Annotated[
        tuple[StageStatus, ...],
        Schema("Each stage, in their order; absent in a job without stages.", maxItems=8, **list_map("name")),
    ] = ()
    conditions: Annotated[
        tuple[Condition, ...], Schema("The latest observations, by type.", maxItems=16, **list_map("type"))
    ] = ()
    start_time: Annotated[Time | None, Schema("When the first attempt was started.")] = None
    completion_time: Annotated[Time | None, Schema("When the job ended, either way.")] = None
    next_attempt_at: Annotated[Time | None, Schema("Before this time no other attempt is started.")] = None
    attempt: Annotated[Attempt | None, Schema("The attempt under way, or the last one.")] = None
    active_seconds: Annotated[
        Count | None, Schema("Seconds that the attempts that ended took; they count against activeDeadlineSeconds.")
    ] = None
    attempts_counted: Annotated[
        Count, Schema("Restarts that count against restartPolicy.maxRestarts; with stages, of the one under way.")
    ] = 0
    progress: Annotated[Progress | None, Schema("How far the training is.")] = None
    metrics: Annotated[
        dict[str, MetricValue], Schema("Newest value of each metric, as a decimal string.", maxProperties=64)
    ] = Field(default_factory=dict)
    workers: Annotated[tuple[Worker, ...], Schema("The workers' pods.", maxItems=64, **list_map("index"))] = ()
    run: Annotated[Run | None, Schema("The MLflow run.")] = None
    dataset: Annotated[PreparedDataset | None, Schema("The dataset that spec.prepare has made.")] = None
    evaluation: Annotated[
        EvaluationStatus | None, Schema("What spec.evaluate judges; absent before the training has ended.")
    ] = None
    tuning: Annotated[TuningStatus | None, Schema("How far the trials of spec.tuning are.")] = None
    model: Annotated[TrainedModel | None, Schema("The model that came out.")] = None
    checkpoint: Annotated[CheckpointStatus | None, Schema("The newest complete checkpoint.")] = None
    resume: Annotated[Resume | None, Schema("Where the present attempt took up an earlier one's work.")] = None
    failure: Annotated[Failure | None, Schema("The newest failure and its cause.")] = None
    history: Annotated[
        tuple[AttemptRecord, ...], Schema("Attempts that ended, the newest last.", maxItems=20, **list_map("attempt"))
    ] = ()
    source: Annotated[SourceStatus | None, Schema("The source that the attempts were started with.")] = None
    schedule: Annotated[ScheduleStatus | None, Schema("What came of spec.schedule.")] = None
    columns: Annotated[Columns, Schema("What `kubectl get` prints.")] = Columns()

    def evolve(self, **changes: Unpack[TrainingJobStatusChanges]) -> Self:
        """The status with these fields changed."""
        return self.model_copy(update=changes)
