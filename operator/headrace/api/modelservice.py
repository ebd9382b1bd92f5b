"""ModelService: what a user asks for. One small model a section, as in `trainingjob`."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from headrace.api.base import ATOMIC, SET, Model, Rule, Schema, list_map, matching
from headrace.api.common import Resources, Storage
from headrace.api.explainer import RULE as EXPLAIN_RULE
from headrace.api.explainer import Background, ConfigMapKey, Explain, ExplainMethod
from headrace.api.kind import Column, Kind, Scale, dns_name
from headrace.api.meta import ObjectMeta
from headrace.api.modelservice_status import (
    Baseline,
    CheckStatus,
    Interruption,
    ModelServiceStatus,
    PendingOutcome,
    Phase,
    PromotionStatus,
    RejectedDigest,
    Revision,
    RolloutOutcome,
    RolloutRecord,
    RolloutStatus,
    ServedModel,
    ServiceColumns,
    Verdict,
)
from headrace.api.podtemplate import ServingPodTemplate
from headrace.api.scalars import (
    S3URI,
    Alias,
    DecimalString,
    Duration,
    ImageReference,
    Label,
    Subdomain,
    TextOrNumber,
    decimal_between,
    duration_between,
)
from headrace.api.status import to_status_dict

__all__ = [
    "Analysis",
    "Background",
    "Baseline",
    "Check",
    "CheckMetric",
    "CheckStatus",
    "ConfigMapKey",
    "Explain",
    "ExplainMethod",
    "Interruption",
    "ModelService",
    "ModelServiceSpec",
    "ModelServiceStatus",
    "ModelSource",
    "NoData",
    "ParentReference",
    "Pause",
    "PendingOutcome",
    "Phase",
    "Promotion",
    "PromotionStatus",
    "RegistryModel",
    "RejectedDigest",
    "Revision",
    "Rollout",
    "RolloutOutcome",
    "RolloutRecord",
    "RolloutStatus",
    "RolloutStep",
    "Route",
    "Runtime",
    "RuntimeVariable",
    "Scaling",
    "ServedModel",
    "ServiceColumns",
    "TrainingJobReference",
    "Verdict",
    "to_status_dict",
]


class RegistryModel(Model):
    """A model in the registry: exactly one of alias and version."""

    name: Annotated[Label, Schema("The registered model, local to this namespace (NAMESPACE.NAME in MLflow).")]
    alias: Annotated[Alias | None, Schema("Follow this alias: each version that it points at is rolled out.")] = None
    version: Annotated[
        str | None,
        Schema(
            "Serve this version and no other.",
            maxLength=10,
            rules=(matching(r"^[1-9][0-9]*$", 'must be a number in quotes, such as "3"'),),
        ),
    ] = None

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule("has(self.alias) != has(self.version)", "set exactly one of alias and version"),
    )


class TrainingJobReference(Model):
    """A TrainingJob in this namespace."""

    name: Annotated[Label, Schema("Name of the TrainingJob whose model is served.", maxLength=40)]


class ModelSource(Model):
    """Which model is served: exactly one of its fields."""

    registry: Annotated[RegistryModel | None, Schema("A model in MLflow's registry.")] = None
    uri: Annotated[S3URI | None, Schema("An artifact with its manifest, such as s3://team-a/models/text.")] = None
    training_job: Annotated[TrainingJobReference | None, Schema("The model that a TrainingJob brought out.")] = None

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "(has(self.registry) ? 1 : 0) + (has(self.uri) ? 1 : 0) + (has(self.trainingJob) ? 1 : 0) == 1",
            "set exactly one of registry, uri and trainingJob",
        ),
    )


class RuntimeVariable(Model):
    """A variable of the server's environment."""

    name: Annotated[
        str,
        Schema(
            "Its name.",
            maxLength=253,
            rules=(matching(r"^[A-Za-z_][A-Za-z0-9_.-]*$", "must be the name of a variable, such as LOG_LEVEL"),),
        ),
    ]
    value: Annotated[
        TextOrNumber,
        Schema(
            "Its value: a text, or a whole number; quote fractions, true and false, and what has to stay as it is "
            "written: YAML reads 010 as 8, and 1.0 as 1. What is secret comes from a Secret: spec.podTemplate, "
            "container server.",
            maxLength=16384,
        ),
    ] = ""


class Batching(Model):
    """How the server computes requests together."""

    max_size: Annotated[
        int | None,
        Schema(
            "Rows of requests that are computed together at most; 1: none are. Absent: the server's own number.",
            minimum=1,
            maximum=65536,
        ),
    ] = None
    max_delay: Annotated[
        Duration | None,
        Schema(
            "How long a request waits for others while the server has nothing to compute, such as 2ms: worth it where "
            "a run of many rows costs little more than one of one row, as on a GPU. Absent: not at all.",
            rules=(duration_between("0s", "10s"),),
        ),
    ] = None


class Runtime(Model):
    """The server."""

    name: Annotated[
        Label,
        Schema(
            "A server of this installation (servingRuntimes in the chart's values). onnxruntime serves the model's "
            "ONNX format by the Open Inference Protocol (REST and gRPC); tensorflow-serving its SavedModel by "
            "TensorFlow Serving's REST and gRPC; text its Text format by OpenAI's API and the Open Inference "
            "Protocol's generate; others are added by an administrator."
        ),
    ]
    format: Annotated[
        str | None,
        Schema(
            "Which of the model's formats, where the server takes several. Absent: the first one that it takes.",
            maxLength=40,
            rules=(matching(r"^[A-Za-z][A-Za-z0-9]*$", "must be the name of a format, such as ONNX"),),
        ),
    ] = None
    image: Annotated[ImageReference | None, Schema("The server's image. Absent: the installation's.", minLength=1)] = (
        None
    )
    args: Annotated[
        tuple[
            Annotated[
                TextOrNumber,
                Schema("An argument: a text, or a whole number; YAML reads 010 as 8, and 1.0 as 1.", maxLength=4096),
            ],
            ...,
        ],
        Schema(
            "Arguments after the server's own. $(MODEL_DIR), $(MODEL_NAME), $(VERSION) and $(DIGEST) stand for what "
            "the service has; everything else arrives as it is written.",
            maxItems=64,
            **ATOMIC,
        ),
    ] = ()
    env: Annotated[
        tuple[RuntimeVariable, ...],
        Schema("Variables of the server's environment, with the same four names.", maxItems=64, **list_map("name")),
    ] = ()
    batching: Annotated[
        Batching | None,
        Schema(
            "How requests are computed together, where the server lets it be said: onnxruntime does; of others "
            "servingRuntimes says it."
        ),
    ] = None


class Scaling(Model):
    """How many pods serve."""

    replicas: Annotated[int, Schema("Pods of a revision that has all the traffic.", minimum=1, maximum=1000)] = 1


class Pause(Model):
    """A pause without an end; it is written as {}."""


class RolloutStep(Model):
    """One step of a rollout."""

    weight: Annotated[int, Schema("Percent of the requests that the new revision gets.", minimum=1, maximum=99)]
    hold: Annotated[
        Duration,
        Schema("Time that the step lasts at least, such as 1m.", rules=(duration_between("0s", "168h"),)),
    ] = timedelta(minutes=1)
    pause: Annotated[
        Pause | None,
        Schema(
            "{}: after its hold, and once each check passes, the step waits for a person, without a limit: "
            "kubectl headrace skip NAME continues. Meanwhile the canary is checked, and rolled back when it fails. "
            "Absent: the step ends by itself."
        ),
    ] = None


class NoData(StrEnum):
    HOLD = "Hold"
    ROLLBACK = "Rollback"


class CheckMetric(StrEnum):
    SUCCESS_RATE = "SuccessRate"
    LATENCY_P50 = "LatencyP50"
    LATENCY_P95 = "LatencyP95"
    LATENCY_P99 = "LatencyP99"


class Check(Model):
    """One question to the canary's requests."""

    name: Annotated[Label, Schema("Name of the check.", maxLength=40)]
    metric: Annotated[
        CheckMetric,
        Schema(
            "SuccessRate: share of requests without a server error; client errors (4xx) and answers with a NaN or an "
            "infinity count as far as the stable revision has clearly fewer in the same window. LatencyP50, P95, P99: "
            "a quantile of the latency."
        ),
    ]
    min: Annotated[
        DecimalString | None,
        Schema(
            'The least success rate that passes: a decimal in quotes, such as "0.99".',
            rules=(decimal_between("0", "1"),),
        ),
    ] = None
    max_ratio_to_stable: Annotated[
        DecimalString | None,
        Schema(
            "The largest latency that passes, as a multiple of the stable revision's in the same window: a decimal in "
            'quotes, such as "1.5".',
            rules=(decimal_between("0.1", "100"),),
        ),
    ] = None
    min_requests: Annotated[
        int,
        Schema(
            "Requests that are needed for a verdict. A p95 needs 200, a p99 1000, to mean anything.",
            minimum=1,
            maximum=1000000,
        ),
    ] = 50

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.metric != 'SuccessRate' || (has(self.min) && !has(self.maxRatioToStable))",
            "a check of SuccessRate has min and no maxRatioToStable",
        ),
        Rule(
            "self.metric == 'SuccessRate' || (has(self.maxRatioToStable) && !has(self.min))",
            "a check of a latency has maxRatioToStable and no min",
        ),
        Rule(
            "self.metric != 'LatencyP95' || self.minRequests >= 200",
            "a p95 needs minRequests of at least 200",
            field_path=".minRequests",
        ),
        Rule(
            "self.metric != 'LatencyP99' || self.minRequests >= 1000",
            "a p99 needs minRequests of at least 1000",
            field_path=".minRequests",
        ),
    )


class Analysis(Model):
    """How a canary is judged."""

    interval: Annotated[
        Duration, Schema("Time between two looks, such as 10s.", rules=(duration_between("1s", "1h"),))
    ] = timedelta(seconds=10)
    failure_limit: Annotated[
        int, Schema("Times that a check may fail before the canary is rolled back.", minimum=0, maximum=100)
    ] = 2
    no_data: Annotated[
        NoData,
        Schema("What to do at the end of a step without enough requests. Hold: wait. Rollback: take it back."),
    ] = NoData.HOLD
    checks: Annotated[tuple[Check, ...], Schema("Each check.", minItems=1, maxItems=16, **list_map("name"))]


class Promotion(Model):
    """What the registry is told."""

    alias: Annotated[
        Alias,
        Schema("The alias that is pointed at what became stable, such as champion. One service owns it."),
    ]


class Rollout(Model):
    """How a new revision gets the traffic."""

    steps: Annotated[
        tuple[RolloutStep, ...],
        Schema(
            "Steps on the way to all requests; none: at once when it is ready.",
            maxItems=20,
            rules=(
                Rule(
                    "self.all(i, step, i == 0 || self[i - 1].weight < step.weight)",
                    "the weights of the steps have to rise",
                ),
            ),
            **ATOMIC,
        ),
    ] = ()
    progress_deadline: Annotated[
        Duration,
        Schema(
            "Time that a canary may take to get ready, such as 10m. Holds and missing data do not count.",
            rules=(duration_between("10s", "24h"),),
        ),
    ] = timedelta(minutes=10)
    analysis: Annotated[Analysis | None, Schema("How a canary is judged. Absent: by its readiness alone.")] = None
    promotion: Annotated[Promotion | None, Schema("What the registry is told. Absent: nothing.")] = None


class ParentReference(Model):
    """A Gateway."""

    name: Annotated[Subdomain, Schema("Name of the Gateway.")]
    namespace: Annotated[Label | None, Schema("Its namespace. Absent: the service's own.")] = None
    section_name: Annotated[Subdomain | None, Schema("One listener of it. Absent: all.")] = None


class Route(Model):
    """Where the model can be reached."""

    parent_refs: Annotated[
        tuple[ParentReference, ...], Schema("Gateways that the route is attached to.", minItems=1, maxItems=4, **ATOMIC)
    ]
    hostnames: Annotated[
        tuple[
            Annotated[
                str,
                Schema(
                    "A hostname.",
                    maxLength=253,
                    rules=(
                        matching(
                            r"^(\*\.)?[a-z0-9]([-a-z0-9.]*[a-z0-9])?$",
                            "must be a hostname such as text.example.com, without a port",
                        ),
                    ),
                ),
            ],
            ...,
        ],
        Schema("Hostnames that it answers to. None: the listener's.", maxItems=16, **SET),
    ] = ()
    path: Annotated[
        str | None,
        Schema(
            "Prefix of the path, taken off before the server sees it. Absent: /NAMESPACE/NAME.",
            maxLength=256,
            rules=(
                matching(r"^/[A-Za-z0-9/._~-]*$", "must be a path that begins with /, such as /text"),
                Rule("!self.contains('//')", "must be without //"),
                Rule(
                    "!self.split('/').exists(part, part == '..' || part == '.')",
                    "must be without . and ..",
                ),
            ),
        ),
    ] = None


class ModelServiceSpec(Model):
    """What to serve, and how a new version takes over."""

    model: Annotated[ModelSource, Schema("Which model is served.")]
    storage: Annotated[
        Storage | None,
        Schema("Credentials for the object store, read-only. Absent: the identity of the service account."),
    ] = None
    service_account_name: Annotated[
        Subdomain | None, Schema("The service account that the pods run as. Absent: the namespace's default.")
    ] = None
    runtime: Annotated[Runtime, Schema("The server.")]
    resources: Annotated[
        Resources,
        Schema(
            "Compute resources of each pod's server. The init container that fetches the model gets the same of cpu, "
            "memory and ephemeral-storage."
        ),
    ] = Resources()
    pod_template: Annotated[
        ServingPodTemplate,
        Schema(
            "Anything else of a pod: metadata and spec of a PodTemplateSpec, laid over what Headrace makes (pull "
            "secrets, node selectors, tolerations, affinity, priority class, environment, volumes, side containers). A "
            "change is a rollout. Host namespaces, hostPath, host ports and privilege are refused."
        ),
    ] = Field(default_factory=dict)
    scaling: Annotated[Scaling, Schema("How many pods serve.")] = Scaling()
    rollout: Annotated[Rollout, Schema("How a new version gets the traffic.")] = Rollout()
    route: Annotated[Route | None, Schema("Where the model can be reached. Absent: in the cluster only.")] = None
    explain: Annotated[
        Explain | None,
        Schema(
            "Explain answers at /v2/models/NAME/explain, by pods of their own that take nothing from those that infer. "
            "Absent: not at all."
        ),
    ] = None

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.rollout) || !has(self.rollout.promotion) || !has(self.model.registry) || "
            "!has(self.model.registry.alias) || self.rollout.promotion.alias != self.model.registry.alias",
            "the promotion alias has to differ from the alias that is followed, model.registry.alias",
            field_path=".rollout.promotion.alias",
        ),
        Rule(
            "!has(self.rollout) || !has(self.rollout.promotion) || !has(self.model.uri)",
            "a model that is served by its uri is in no registry: leave promotion out",
            field_path=".rollout.promotion",
        ),
        Rule(
            "!has(self.rollout) || !has(self.rollout.steps) || size(self.rollout.steps) == 0 || has(self.route)",
            "steps divide the requests of a route: set route.parentRefs, or leave rollout.steps out",
            reason="FieldValueRequired",
            field_path=".route",
        ),
        EXPLAIN_RULE,
    )


class ModelService(Model):
    """Serves a model and moves the traffic to each new version step by step, and back when it is bad."""

    metadata: ObjectMeta
    spec: ModelServiceSpec
    status: ModelServiceStatus = ModelServiceStatus()

    cel: ClassVar[tuple[Rule, ...]] = (dns_name(40),)
    KIND: ClassVar[Kind] = Kind(
        kind="ModelService",
        plural="modelservices",
        short_names=("msvc",),
        columns=(
            Column("Ready", ".status.columns.ready"),
            Column("Phase", ".status.phase"),
            Column("Stable", ".status.columns.stable"),
            Column("Canary", ".status.columns.canary"),
            Column("Verdict", ".status.columns.verdict"),
            Column("Reason", ".status.reason"),
            Column("Age", ".metadata.creationTimestamp", type="date"),
            Column("Replicas", ".status.columns.replicas", wide=True),
            Column("URL", ".status.url", wide=True),
            Column("Runtime", ".status.columns.runtime", wide=True),
            Column("Digest", ".status.columns.digest", wide=True),
        ),
        selectable=(".status.phase",),
        scale=Scale(".spec.scaling.replicas", ".status.replicas", ".status.selector"),
    )
