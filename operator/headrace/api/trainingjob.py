"""TrainingJob: what a user asks for.

Each section of the spec is a model of its own, so that it goes in or out of the CRD by one line of `TrainingJobSpec`;
only what the operator enforces is in.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, ClassVar, Self

from pydantic import Field

from headrace.api import frameworks
from headrace.api.base import SET, Model, Rule, Schema, list_map
from headrace.api.common import Failure, FailureClass, Resources, SecretReference, Storage
from headrace.api.evaluate import RULES as EVALUATE_RULES
from headrace.api.evaluate import Evaluate, EvaluateBaseline, EvaluateGate, EvaluationData, ModelCard
from headrace.api.frameworks import Framework, StrategyType
from headrace.api.kind import Column, Kind, dns_name
from headrace.api.meta import Condition, ConditionStatus, ObjectMeta
from headrace.api.podtemplate import TrainingPodTemplate
from headrace.api.prepare import RULES as PREPARE_RULES
from headrace.api.prepare import Prepare, PrepareOutput, PrepareType
from headrace.api.program import ConfigMapReference, Dataset, Entrypoint, Parameter, Source
from headrace.api.scalars import (
    DECIMAL_PATTERN,
    Alias,
    DecimalString,
    Duration,
    ImageReference,
    Label,
    MetricName,
    Subdomain,
    duration_between,
)
from headrace.api.schedule import NAME_RULE as SCHEDULED_NAME
from headrace.api.schedule import RULES as SCHEDULE_RULES
from headrace.api.schedule import ConcurrencyPolicy, Schedule, ScheduledTraining, ScheduleStatus
from headrace.api.status import to_status_dict
from headrace.api.trainingjob_status import (
    ApprovalState,
    Attempt,
    AttemptOutcome,
    AttemptRecord,
    BaselineVersion,
    CheckpointStatus,
    Columns,
    EvaluationStatus,
    Gate,
    GateCheck,
    ModelApproval,
    PreparedDataset,
    Progress,
    Resume,
    Run,
    SourceStatus,
    Stage,
    StageState,
    StageStatus,
    State,
    TrainedModel,
    TrainingJobStatus,
    TrainingJobStatusChanges,
    TrialCounts,
    TrialStatus,
    TuningStatus,
    Worker,
)
from headrace.api.tuning import NAME_RULES as TUNED_NAMES
from headrace.api.tuning import RULES as TUNING_RULES
from headrace.api.tuning import Tuning
from headrace_common.formats import ModelFormat
from headrace_common.tags import SYSTEM_METRICS

__all__ = [
    "Approval",
    "ApprovalState",
    "Attempt",
    "AttemptOutcome",
    "AttemptRecord",
    "BaselineVersion",
    "Checkpoint",
    "CheckpointStatus",
    "Columns",
    "ConcurrencyPolicy",
    "Condition",
    "ConditionStatus",
    "ConfigMapReference",
    "Dataset",
    "Evaluate",
    "EvaluateBaseline",
    "EvaluateGate",
    "Evaluation",
    "EvaluationData",
    "EvaluationGate",
    "EvaluationStatus",
    "Failure",
    "FailureClass",
    "Gate",
    "GateCheck",
    "ModelApproval",
    "ModelCard",
    "ModelFormat",
    "ObjectMeta",
    "Output",
    "Prepare",
    "PrepareOutput",
    "PrepareType",
    "PreparedDataset",
    "Progress",
    "Resources",
    "RestartPolicy",
    "Resume",
    "ResumeMode",
    "Run",
    "Schedule",
    "ScheduleStatus",
    "ScheduledTraining",
    "SecretReference",
    "Source",
    "SourceStatus",
    "Stage",
    "StageState",
    "StageStatus",
    "State",
    "Storage",
    "Strategy",
    "StrategyType",
    "Tracking",
    "TrainedModel",
    "TrainingJob",
    "TrainingJobSpec",
    "TrainingJobStatus",
    "TrainingJobStatusChanges",
    "TrialCounts",
    "TrialStatus",
    "Tuning",
    "TuningStatus",
    "Worker",
    "to_status_dict",
]


class Strategy(Model):
    """How the training is spread over workers."""

    type: Annotated[
        StrategyType,
        Schema(
            "SingleWorker: one pod. Mirrored: one pod, whose GPUs train one model in step under TensorFlow's "
            "MirroredStrategy; the script stays as it is and its batch size is that of all GPUs together. "
            "MultiWorkerMirrored: several pods train one model in step under TensorFlow's "
            "MultiWorkerMirroredStrategy; the script stays as it is and its batch size is the global one. MultiWorker, "
            "for framework Script: several pods of any program, which find one another by the variables of torchrun "
            "(MASTER_ADDR, MASTER_PORT, RANK, WORLD_SIZE), of JAX and of Keras."
        ),
    ] = StrategyType.SINGLE_WORKER
    workers: Annotated[int, Schema("Number of workers.", minimum=1, maximum=64)] = 1

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.type.startsWith('MultiWorker') || self.workers == 1",
            "SingleWorker and Mirrored have exactly 1 worker: leave workers out, or choose a type with several",
            field_path=".workers",
        ),
        Rule(
            "!self.type.startsWith('MultiWorker') || self.workers >= 2",
            "MultiWorker and MultiWorkerMirrored need 2 to 64 workers",
            field_path=".workers",
        ),
    )


class Tracking(Model):
    """Where the run is recorded."""

    experiment: Annotated[
        Label, Schema("The experiment, local to this namespace: MLflow shows it as NAMESPACE/EXPERIMENT.")
    ]


class ResumeMode(StrEnum):
    EXACT = "Exact"
    FAST = "Fast"


class Checkpoint(Model):
    """How often the training is saved, so that a later attempt can go on from there, and how it does."""

    interval: Annotated[
        Duration,
        Schema("Time between two checkpoints, such as 5m.", rules=(duration_between("10s", "24h"),)),
    ] = timedelta(minutes=5)
    keep: Annotated[int, Schema("How many checkpoints of an attempt are kept.", minimum=1, maximum=100)] = 3
    resume: Annotated[
        ResumeMode,
        Schema(
            "Exact: the data that was trained on is gone through again, so that the training ends as an uninterrupted "
            "one does. Fast: it goes on at once with the checkpoint's weights, optimizer, epoch and step; a tf.data "
            "pipeline goes on with its next batch where its state can be kept (no Python code, at most 64 MiB), other "
            "data that has to be made begins anew."
        ),
    ] = ResumeMode.EXACT
    max_replay: Annotated[
        Duration,
        Schema(
            "With Exact: how long data is gone through again, such as 10m. When it is over the training goes on with "
            "the data where it is, and says that it is not exact.",
            rules=(duration_between("1s", "24h"),),
        ),
    ] = timedelta(minutes=10)
    grace_period: Annotated[
        Duration,
        Schema(
            "How long pods that are stopped (suspended, preempted, drained) have for a last checkpoint, such as 2m: "
            "more than half of it to write it, the rest to upload it. Raise it for a state of several GB. A node that "
            "is taken away may give less.",
            rules=(duration_between("15s", "1h"),),
        ),
    ] = timedelta(seconds=30)


class EvaluationGate(Model):
    """A bound that the trained model has to meet: min, max or both."""

    metric: Annotated[MetricName, Schema("A metric that the script logs, such as val_accuracy.")]
    min: Annotated[DecimalString | None, Schema('The least value that passes: a decimal in quotes, such as "0.2".')] = (
        None
    )
    max: Annotated[
        DecimalString | None, Schema('The largest value that passes: a decimal in quotes, such as "6.5".')
    ] = None

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule("has(self.min) || has(self.max)", "a gate needs min, max or both", reason="FieldValueRequired"),
        Rule(
            f"!has(self.min) || !has(self.max) || !self.min.matches(r'{DECIMAL_PATTERN}') || "
            f"!self.max.matches(r'{DECIMAL_PATTERN}') || double(self.min) <= double(self.max)",
            "min is larger than max: no value could pass",
            field_path=".min",
        ),
        Rule(
            f"!self.metric.startsWith('{SYSTEM_METRICS}')",
            "system/... says what the container used, and nothing of the model: name a metric of the training",
            field_path=".metric",
        ),
    )


class Evaluation(Model):
    """What the trained model must reach to become a model version."""

    gates: Annotated[
        tuple[EvaluationGate, ...],
        Schema(
            "Every gate has to pass; otherwise the job succeeds without a version.",
            minItems=1,
            maxItems=32,
            **list_map("metric"),
        ),
    ]


class InputExample(StrEnum):
    ROWS = "Rows"
    NONE = "None"


class Approval(Model):
    """Whether a person has to agree before the new version is used."""

    required: Annotated[
        bool,
        Schema(
            "Whether the alias waits: the job succeeds with reason AwaitingApproval, the version is registered, and "
            "output.alias is pointed at it once somebody with the right to approve TrainingJobs has said so "
            "(kubectl headrace approve). Until then no ModelService serves the version. Without output.alias the "
            "approval moves none: it only lets ModelServices serve the version."
        ),
    ] = False


class Output(Model):
    """The model that comes out."""

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.requiredFormats) || "
            "self.requiredFormats.all(name, name in (has(self.formats) ? self.formats : ['TensorFlow', 'ONNX']))",
            "requiredFormats may name only what is in formats",
        ),
    )

    model: Annotated[
        Label, Schema("The registered model, local to this namespace: MLflow shows it as NAMESPACE.MODEL.")
    ]
    formats: Annotated[
        tuple[ModelFormat, ...] | None,
        Schema(
            "Formats that the model is exported in: TensorFlow (SavedModel), ONNX, Text (a decoder of tokens, with its "
            "tokenizer, for runtime text), and Keras (a file to train on with, which is never served). One that can be "
            "made is enough; condition FormatsExported says why another could not. Absent: TensorFlow and ONNX; with "
            "framework Script what the script hands over of these two.",
            minItems=1,
            maxItems=4,
            **SET,
        ),
    ] = None
    required_formats: Annotated[
        tuple[ModelFormat, ...],
        Schema(
            "Those of `formats` without which there is no version: where one of them cannot be made, the job succeeds "
            "with reason RequiredFormatMissing and registers nothing. Name the format that the model is served in.",
            maxItems=4,
            **SET,
        ),
    ] = ()
    input_example: Annotated[
        InputExample,
        Schema(
            "What is kept as the model's input example in MLflow. Rows: a few rows of the training data, of a Keras "
            "script. None: no row of the training data leaves the pod; the export is still compared on them, there."
        ),
    ] = InputExample.ROWS
    alias: Annotated[
        Alias | None,
        Schema(
            "The alias that is pointed at the new version, such as candidate. "
            "A ModelService's promotion alias is refused (AliasReserved)."
        ),
    ] = None
    approval: Annotated[Approval | None, Schema("Whether a person has to agree first. Absent: nobody is asked.")] = None

    @property
    def needs_approval(self) -> bool:
        """Whether the version waits for a person's decision."""
        return self.approval is not None and self.approval.required


class RestartPolicy(Model):
    """What happens after an attempt failed."""

    max_restarts: Annotated[
        int,
        Schema(
            "How often the training is started again after a failure of its own; with prepare or evaluate, each stage. "
            "Disruptions (eviction, preemption, a lost node) do not count.",
            minimum=0,
            maximum=100,
        ),
    ] = 3


class TrainingJobSpec(Model):
    """What to train, with what, and what becomes of it."""

    source: Annotated[Source, Schema("Where the training script comes from.")]
    framework: Annotated[
        Framework,
        Schema(
            "Keras: a plain Keras script, whose fit is followed, saved, resumed and exported. Script: any other "
            "program (scikit-learn, XGBoost, PyTorch, a shell script), which says by itself what is to be known of it: "
            "metrics, checkpoints and the model, with the Python package headrace_client."
        ),
    ] = Framework.KERAS
    image: Annotated[
        ImageReference,
        Schema(
            "The image that the pods run. Empty: the trainer image of this release (the one for GPUs if resources ask "
            "for nvidia.com/..., and the chart's trainer.gpuImage names one), pinned in status at the start."
        ),
    ] = ""
    entrypoint: Annotated[Entrypoint, Schema("The script to run, relative to the source, such as train.py.")]
    parameters: Annotated[
        dict[str, Parameter],
        Schema(
            "Parameters of the script: strings, numbers, true or false, lists of them. Each is given to the script as "
            "--NAME=VALUE, a list as one text in JSON, and logged to MLflow. YAML reads 010 as 8 and yes as true: put "
            "into quotes what shall stay a string. They stay as they were created.",
            maxProperties=64,
        ),
    ] = Field(default_factory=dict)
    datasets: Annotated[
        tuple[Dataset, ...],
        Schema("Inputs that are fetched before the script starts.", maxItems=16, **list_map("name")),
    ] = ()
    prepare: Annotated[
        Prepare | None,
        Schema(
            "A stage before the training, which makes a dataset: a pod runs a script, and the training finds the files "
            "that it left at /data/NAME. It is skipped where the same preparation was done before. Absent: there is "
            "only the training."
        ),
    ] = None
    evaluate: Annotated[
        Evaluate | None,
        Schema(
            "A stage after the training, which judges the model that came out: a pod runs it on data that it has not "
            "seen, beside the version that an alias points at. Absent: what the training itself has measured is all."
        ),
    ] = None
    schedule: Annotated[
        Schedule | None,
        Schema(
            "Trains again and again: at each time of the schedule a TrainingJob is made of this spec, and this one "
            "trains nothing itself. Its fields can be changed. Absent: it is trained once, now."
        ),
    ] = None
    tuning: Annotated[
        Tuning | None,
        Schema(
            "The training is tried with several parameters, each trial a TrainingJob of its own, and the best one's "
            "model is what comes out. Absent: there is one training, with spec.parameters."
        ),
    ] = None
    storage: Annotated[
        Storage | None,
        Schema("Credentials for the object store. Absent: the identity of the service account (workload identity)."),
    ] = None
    service_account_name: Annotated[
        Subdomain | None, Schema("The service account that the pods run as. Absent: the namespace's default.")
    ] = None
    strategy: Annotated[Strategy, Schema("How the training is spread over workers.")] = Strategy()
    resources: Annotated[Resources, Schema("Compute resources of each worker.")] = Resources()
    pod_template: Annotated[
        TrainingPodTemplate,
        Schema(
            "Anything else of a pod: metadata and spec of a PodTemplateSpec, laid over what Headrace makes (node "
            "selectors, tolerations, volumes, environment, side containers). Host namespaces, hostPath, host ports and "
            "privilege are refused."
        ),
    ] = Field(default_factory=dict)
    tracking: Annotated[Tracking | None, Schema("Where the run is recorded. Absent: in no experiment.")] = None
    checkpoint: Annotated[Checkpoint, Schema("How often the training is saved.")] = Checkpoint()
    evaluation: Annotated[
        Evaluation | None,
        Schema("What the training's own metrics must reach for the model to be registered. Absent: nothing."),
    ] = None
    output: Annotated[Output | None, Schema("The model that comes out. Absent: none is exported.")] = None
    restart_policy: Annotated[RestartPolicy, Schema("What happens after an attempt failed.")] = RestartPolicy()
    start_deadline_seconds: Annotated[
        int | None,
        Schema(
            "Seconds that an attempt waits for its pods before the job fails. Absent: no limit while no node fits or "
            "a quota is full, 600 for errors (an image that cannot be pulled, a Secret that is missing).",
            minimum=1,
            maximum=604800,
        ),
    ] = None
    active_deadline_seconds: Annotated[
        int | None,
        Schema(
            "Seconds that the attempts may take together; suspended and queued time, and the waits between two "
            "attempts, are left out.",
            minimum=1,
            maximum=31536000,
        ),
    ] = None
    ttl_seconds_after_finished: Annotated[
        int | None,
        Schema(
            "Seconds after its end when the job is deleted; its run and model stay. Absent: never. Can be changed.",
            minimum=0,
            maximum=315360000,
        ),
    ] = None
    suspend: Annotated[
        bool,
        Schema("Whether the job's pods are stopped or not created; with false it resumes. Can be changed."),
    ] = False

    immutable_except: ClassVar[tuple[str, ...] | None] = ("suspend", "ttl_seconds_after_finished", "schedule")
    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.source.image) || !has(self.image) || self.image == ''",
            "source.image is the image that runs: leave image empty",
            field_path=".image",
        ),
        Rule(
            "!has(self.output) || has(self.tracking)",
            "a model version is registered from a run: output needs tracking.experiment",
            reason="FieldValueRequired",
            field_path=".tracking",
        ),
        Rule(
            "!has(self.evaluation) || has(self.output)",
            "evaluation judges the model of spec.output: add output, or leave evaluation out",
            reason="FieldValueRequired",
            field_path=".output",
        ),
        *frameworks.rules(),
        *PREPARE_RULES,
        *EVALUATE_RULES,
        *SCHEDULE_RULES,
        *TUNING_RULES,
    )


class TrainingJob(Model):
    """Trains a model: launches the pods, records the run in MLflow, registers what comes out."""

    metadata: ObjectMeta
    spec: TrainingJobSpec
    status: TrainingJobStatus = TrainingJobStatus()

    cel: ClassVar[tuple[Rule, ...]] = (dns_name(40), SCHEDULED_NAME, *TUNED_NAMES)
    KIND: ClassVar[Kind] = Kind(
        kind="TrainingJob",
        plural="trainingjobs",
        short_names=("tj",),
        columns=(
            Column("State", ".status.state"),
            Column("Reason", ".status.reason"),
            Column("Progress", ".status.columns.progress"),
            Column("ETA", ".status.columns.eta"),
            Column("Metric", ".status.columns.metric"),
            Column("Try", ".status.columns.try"),
            Column("Model", ".status.columns.model"),
            Column("Age", ".metadata.creationTimestamp", type="date"),
            Column("Workers", ".status.columns.workers", wide=True),
            Column("Gate", ".status.columns.gate", wide=True),
            Column("Checkpoint", ".status.columns.checkpoint", wide=True),
            Column("Run", ".status.columns.run", wide=True),
        ),
        selectable=(".status.state",),
    )

    def with_status(self, status: TrainingJobStatus) -> Self:
        """The same job in another status."""
        return self.model_copy(update={"status": status})
