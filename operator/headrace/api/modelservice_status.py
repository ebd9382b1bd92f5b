"""Status of a ModelService: what serves, what is being tried, and why."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from headrace.api.acts import ActRecord, Restart, StandingAct
from headrace.api.base import ATOMIC, Model, Schema, list_map
from headrace.api.common import Failure
from headrace.api.meta import Condition
from headrace.api.scalars import Cell, Count, Line, Message, MetricValue, Name, Reason, Time, Word
from headrace_common.signature import MAX_TEXT

Weight = Annotated[int, Schema(minimum=0, maximum=100)]


class Phase(StrEnum):
    """Where a ModelService is."""

    PENDING = "Pending"
    STABLE = "Stable"
    CANARYING = "Canarying"
    PROMOTING = "Promoting"
    ROLLING_BACK = "RollingBack"
    ROLLED_BACK = "RolledBack"
    FAILED = "Failed"


class Verdict(StrEnum):
    """What a check says so far."""

    PASS = "Pass"
    FAIL = "Fail"
    WAITING = "Waiting"
    NO_DATA = "NoData"


class RolloutOutcome(StrEnum):
    """How a rollout ended. With SAME_FILES and REFUSED none began: the files of the version served already, or its
    inputs or outputs differ. With ABORTED a person ended it, which says nothing of the model.
    """

    PROMOTED = "Promoted"
    ROLLED_BACK = "RolledBack"
    SUPERSEDED = "Superseded"
    SAME_FILES = "SameFiles"
    REFUSED = "Refused"
    ABORTED = "Aborted"


class ServedModel(Model):
    """The model version behind a revision."""

    name: Annotated[Name | None, Schema("The registered model's name in MLflow.")] = None
    version: Annotated[Word | None, Schema("Its version.")] = None
    judged_format: Annotated[
        Word | None,
        Schema("The one format of it that spec.evaluate of its TrainingJob has run; absent where none was."),
    ] = None
    signature: Annotated[
        str | None,
        Schema(
            "Its inputs and outputs, from its tag headrace.signature: what a candidate is compared with. Absent where "
            "it has no such tag.",
            maxLength=MAX_TEXT,
        ),
    ] = None


class LoadState(StrEnum):
    """How far a pod is with its model."""

    LOADING = "Loading"
    LOADED = "Loaded"


class LoadSource(StrEnum):
    """Where a model came from."""

    STORAGE = "Storage"
    VOLUME = "Volume"


class LoadStatus(Model):
    """How a revision's pods get the model's files: what the loader of one of them says, the one that is furthest
    behind; when all have it, the one that took longest.
    """

    state: Annotated[LoadState, Schema("Whether that pod has the whole model.")]
    pod: Annotated[Name, Schema("Name of the pod.")]
    bytes: Annotated[Count, Schema("Bytes of the model that lie in the pod.")]
    total_bytes: Annotated[Count | None, Schema("Bytes of the whole model; absent until its manifest is read.")] = None
    fetched_bytes: Annotated[
        Count, Schema("Those that its loader has fetched since it was started last; the others lay there before.")
    ]
    seconds: Annotated[Count, Schema("Seconds since its loader was started last, or that it took.")]
    source: Annotated[
        LoadSource,
        Schema("Where they come from: the store, or the pod's own volume, in which an earlier start left all of them."),
    ]
    problem: Annotated[Line | None, Schema("Why none come at present.")] = None


class Revision(Model):
    """One revision of the service: what was asked for together with one artifact."""

    revision: Annotated[Name, Schema("Name of the revision.")]
    digest: Annotated[Word | None, Schema("Digest of the artifact: the model's identity.")] = None
    uri: Annotated[Line | None, Schema("Where the artifact lies.")] = None
    model: Annotated[ServedModel | None, Schema("The model version; absent for a bare uri.")] = None
    replicas: Annotated[Count, Schema("Pods that there should be.")] = 0
    ready_replicas: Annotated[Count, Schema("Pods that are ready.")] = 0
    load: Annotated[LoadStatus | None, Schema("How its pods get the model; absent until one tells it.")] = None


class CheckStatus(Model):
    """One check of the analysis and where it stands."""

    name: Annotated[Word, Schema("Name of the check.")]
    verdict: Annotated[Verdict, Schema("What it says so far.")]
    value: Annotated[MetricValue | None, Schema("The canary's value.")] = None
    stable_value: Annotated[MetricValue | None, Schema("The stable revision's value in the same window.")] = None
    samples: Annotated[Count | None, Schema("Requests that the value is made of.")] = None
    failures: Annotated[Count, Schema("Times that it failed in this rollout.")] = 0
    message: Annotated[Line, Schema("The comparison, in words.")] = ""


class Baseline(Model):
    """A pod's request counters when the step's weight was applied: what the checks count from."""

    pod: Annotated[Name, Schema("Name of the pod.")]
    requests: Annotated[Count, Schema("Requests answered.")] = 0
    errors: Annotated[Count, Schema("Requests answered with a server error.")] = 0
    rejections: Annotated[Count, Schema("Requests answered with a client error.")] = 0
    nonfinite: Annotated[Count, Schema("Answers with a NaN or an infinity in them.")] = 0
    buckets: Annotated[Line, Schema("Cumulative latency histogram: upper bound in seconds, colon, count.")] = ""


class PendingOutcome(Model):
    """What the registry is still to be told about a version."""

    version: Annotated[Word, Schema("The model version.")]
    outcome: Annotated[RolloutOutcome, Schema("How its rollout ended.")]
    reason: Annotated[Word, Schema("Why.")] = ""
    difference: Annotated[
        Line | None, Schema("In what its inputs and outputs differ; absent where that is no cause.")
    ] = None


class Interruption(Model):
    """The canary has no ready pod: it gets no requests until it has one."""

    weight: Annotated[Weight, Schema("Percent of the requests that it had, and gets again.")]
    since: Annotated[Time | None, Schema("When it lost its last ready pod.")] = None
    disrupted: Annotated[bool, Schema("Its pods were deleted, evicted, preempted, or lost with their node.")] = False


class RolloutStatus(Model):
    """The rollout under way."""

    id: Annotated[Word, Schema("Identity of the rollout.")]
    step: Annotated[Count, Schema("The step under way, from 1.")]
    steps: Annotated[Count, Schema("Number of steps.")]
    started_at: Annotated[Time | None, Schema("When it began.")] = None
    since: Annotated[Time | None, Schema("When the step began.")] = None
    desired_weight: Annotated[Weight, Schema("Percent of the requests that the canary should get.")] = 0
    applied_weight: Annotated[Weight, Schema("Percent that the data plane is known to give it.")] = 0
    applied_at: Annotated[Time | None, Schema("When the data plane had the desired weight.")] = None
    looked_at: Annotated[Time | None, Schema("When the checks were made last.")] = None
    ready_by: Annotated[Time | None, Schema("When the canary's next pods have to be ready.")] = None
    canary_requests: Annotated[Count, Schema("Requests of the canary that the last look counted.")] = 0
    interruption: Annotated[Interruption | None, Schema("The canary has lost its last ready pod.")] = None
    act: Annotated[
        StandingAct | None, Schema("What a person has said of it last, as long as it holds; absent: nothing.")
    ] = None
    losses: Annotated[
        Count, Schema("Times that the canary lost its last ready pod without a deletion, eviction or preemption.")
    ] = 0
    baselines: Annotated[
        tuple[Baseline, ...], Schema("Each pod's counters when the weight was applied.", maxItems=64, **list_map("pod"))
    ] = ()
    checks: Annotated[tuple[CheckStatus, ...], Schema("Each check.", maxItems=16, **list_map("name"))] = ()


class RejectedDigest(Model):
    """A model that was rolled back; it is not tried again until something changes or somebody asks."""

    digest: Annotated[Word, Schema("Digest of the artifact.")]
    revision: Annotated[Name | None, Schema("The revision that was tried.")] = None
    reason: Annotated[Word, Schema("Why it was rolled back.")]
    message: Annotated[Line, Schema("What was measured.")] = ""
    time: Annotated[Time | None, Schema("When.")] = None


class RolloutRecord(Model):
    """A rollout that ended, that was not needed, or that did not begin."""

    id: Annotated[Word, Schema("Identity of the rollout.")]
    revision: Annotated[Name, Schema("The revision that was tried.")]
    version: Annotated[Word | None, Schema("Its model version.")] = None
    outcome: Annotated[RolloutOutcome, Schema("How it ended.")]
    reason: Annotated[Word | None, Schema("Why.")] = None
    by: Annotated[Name | None, Schema("The person who ended it; absent where none did.")] = None
    difference: Annotated[
        Line | None, Schema("In what inputs and outputs differ from those that served; absent where that is no cause.")
    ] = None
    started_at: Annotated[Time | None, Schema("When it began.")] = None
    finished_at: Annotated[Time | None, Schema("When it ended.")] = None


class PromotionStatus(Model):
    """The promotion alias as this service left it; when somebody else moved it, nothing is overwritten."""

    alias: Annotated[Word, Schema("The alias.")]
    expected_version: Annotated[Word | None, Schema("The version that it should point at.")] = None
    pending_version: Annotated[Word | None, Schema("The version that it is about to be pointed at.")] = None


class ServiceColumns(Model):
    """What `kubectl get` prints, as text."""

    ready: Annotated[Cell, Schema("READY: whether the stable revision serves.")] = "-"
    stable: Annotated[Cell, Schema("STABLE: model version that serves.")] = "-"
    canary: Annotated[Cell, Schema("CANARY: version, weight and step, such as 7 10% 2/5.")] = "-"
    verdict: Annotated[Cell, Schema("VERDICT: what the checks say.")] = "-"
    replicas: Annotated[Cell, Schema("REPLICAS: of stable and canary.")] = "-"
    runtime: Annotated[Cell, Schema("RUNTIME: the server.")] = "-"
    digest: Annotated[Cell, Schema("DIGEST: of the stable model, shortened.")] = "-"


class ModelServiceStatus(Model):
    """Observed state; written by the operator only."""

    observed_generation: Annotated[Count | None, Schema("The metadata.generation that this status speaks of.")] = None
    phase: Annotated[Phase | None, Schema("Where the service is.")] = None
    reason: Annotated[Reason | None, Schema("Why, as one CamelCase word.")] = None
    message: Annotated[Message | None, Schema("Why, and what to do about it.")] = None
    conditions: Annotated[
        tuple[Condition, ...], Schema("The latest observations, by type.", maxItems=16, **list_map("type"))
    ] = ()
    url: Annotated[Line | None, Schema("Where the model answers.")] = None
    replicas: Annotated[Count, Schema("Pods of the stable revision; read by the scale subresource.")] = 0
    selector: Annotated[
        Line | None, Schema("Label selector of the stable revision's pods; read by the scale subresource.")
    ] = None
    stable: Annotated[Revision | None, Schema("The revision that serves.")] = None
    canary: Annotated[Revision | None, Schema("The revision that is being tried.")] = None
    rollout: Annotated[RolloutStatus | None, Schema("The rollout under way.")] = None
    promotion: Annotated[PromotionStatus | None, Schema("The promotion alias.")] = None
    pending_outcomes: Annotated[
        tuple[PendingOutcome, ...],
        Schema("Outcomes that the registry is still to be told.", maxItems=20, **list_map("version")),
    ] = ()
    rejected: Annotated[
        tuple[RejectedDigest, ...], Schema("Models that were rolled back.", maxItems=20, **list_map("digest"))
    ] = ()
    failure: Annotated[Failure | None, Schema("The newest failure and its cause.")] = None
    history: Annotated[
        tuple[RolloutRecord, ...], Schema("Rollouts that ended, the newest last.", maxItems=20, **ATOMIC)
    ] = ()
    acts: Annotated[
        tuple[ActRecord, ...],
        Schema("What persons asked for (`kubectl headrace promote` and its like), newest last.", maxItems=20, **ATOMIC),
    ] = ()
    restart: Annotated[Restart | None, Schema("Fresh pods that a person asked for last; absent: never.")] = None
    columns: Annotated[ServiceColumns, Schema("What `kubectl get` prints.")] = ServiceColumns()
