"""From what a ModelService names to the artifact that it means: alias, version, TrainingJob or uri.

The operator asks the registry with its own credential, by polling; it never reads the artifact's bytes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from headrace.api.modelservice import ModelService, RolloutOutcome
from headrace.api.scalars import REASON_PATTERN
from headrace.api.trainingjob import ApprovalState, State, TrainingJob
from headrace.kube.client import KubeClient
from headrace.kube.resources import TRAININGJOBS
from headrace.serving.revision import Artifact
from headrace.serving.target import signature_of
from headrace.tracking.client import MlflowClient
from headrace.tracking.errors import NotFound, TrackingError
from headrace.tracking.ledger import Ledger, model_name
from headrace.tracking.records import APPROVAL_TAG, EVALUATION_FORMAT_TAG, REASON_TAG, ROLLOUT_TAG, ModelVersion
from headrace_common import signature
from headrace_common.formats import ModelFormat
from headrace_common.tags import DIGEST_TAG, SIGNATURE_TAG

NO_MLFLOW = (
    "spec.model.registry is set, but this installation has no MLflow: set mlflow.enabled or mlflow.url in the chart's "
    "values"
)
MAX_REASON = 128  # the bound of a reason in the schema


class NotResolved(Exception):
    """The model cannot be told now. `reason` is the condition's."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Resolved:
    """An artifact, and the reason in the registry's tag where that says that its version was rolled back."""

    artifact: Artifact
    rolled_back: str | None = None


@dataclass(frozen=True)
class Models:
    """What a service may have to serve; without `source` there is a `problem`: reason and message."""

    source: Artifact | None
    problem: tuple[str, str] | None = None
    promoted: Artifact | None = None
    rolled_back: Mapping[Artifact, str] = field(default_factory=dict)  # the reason in the tags of their versions


async def find_models(
    service: ModelService, kube: KubeClient, ledger: Ledger | None, mlflow: MlflowClient | None
) -> Models:
    """Where the source and, before anything is stable, the promotion alias point."""
    source, promoted, problem = None, None, None
    try:
        source = await resolve(service, kube, ledger, mlflow)
    except (NotResolved, TrackingError) as error:
        problem = (error.reason, str(error))
    if service.status.stable is None:
        try:
            promoted = await resolve_promoted(service, source.artifact if source is not None else None, ledger)
        except (NotResolved, TrackingError) as error:
            # What was promoted goes first: without knowing it, nothing is served.
            source, problem = None, (error.reason, str(error))
    found = [resolved for resolved in (source, promoted) if resolved is not None]
    tags = {each.artifact: each.rolled_back for each in found if each.rolled_back is not None}
    return Models(
        source=source.artifact if source is not None else None,
        problem=problem,
        promoted=promoted.artifact if promoted is not None else None,
        rolled_back=tags,
    )


async def resolve(
    service: ModelService, kube: KubeClient, ledger: Ledger | None, mlflow: MlflowClient | None
) -> Resolved:
    """What spec.model means. Raises NotResolved, or a TrackingError where MLflow is away or refuses."""
    model = service.spec.model
    if model.uri is not None:
        return Resolved(Artifact(uri=model.uri.rstrip("/")))
    if model.training_job is not None:
        found = await of_training_job(service.metadata.namespace, model.training_job.name, kube)
        return await _with_tags(found, service, mlflow)
    assert model.registry is not None
    if ledger is None or mlflow is None:
        raise NotResolved("TrackingNotConfigured", NO_MLFLOW)
    name = model_name(service.metadata.namespace, model.registry.name)
    if model.registry.alias is not None:
        version = await ledger.resolve(name, model.registry.alias)
        if version is None:
            message = f"model {name} has no alias {model.registry.alias!r}; a TrainingJob with output.alias sets it"
            raise NotResolved("AliasNotFound", message)
        return _registered(version)
    assert model.registry.version is not None
    try:
        return _registered(await mlflow.get_model_version(name, model.registry.version))
    except NotFound as error:
        raise NotResolved(
            "VersionNotFound", f"model {name} has no version {model.registry.version} in MLflow"
        ) from error


async def resolve_promoted(service: ModelService, source: Artifact | None, ledger: Ledger | None) -> Resolved | None:
    """Where the promotion alias points. Raises as `resolve` does."""
    promotion, registry = service.spec.rollout.promotion, service.spec.model.registry
    if promotion is None or ledger is None:
        return None
    name = source.model if source is not None else ""
    if registry is not None:
        name = model_name(service.metadata.namespace, registry.name)
    found = await ledger.resolve(name, promotion.alias) if name else None
    return _registered(found) if found is not None else None


async def _with_tags(artifact: Artifact, service: ModelService, mlflow: MlflowClient | None) -> Resolved:
    """The registry is asked only about what the service neither serves nor tries."""
    both = [revision for revision in (service.status.stable, service.status.canary) if revision is not None]
    if known := next((revision for revision in both if revision.digest == artifact.digest), None):
        return Resolved(replace(artifact, signature=signature_of(known)))
    if mlflow is None:
        return Resolved(artifact)
    try:
        version = await mlflow.get_model_version(artifact.model, artifact.version)
        return Resolved(replace(artifact, signature=_described(version)), _rolled_back(version))
    except NotFound:  # the TrainingJob knows its model all the same
        return Resolved(artifact)


def _registered(version: ModelVersion) -> Resolved:
    if not version.digest:
        message = (
            f"version {version.version} of model {version.model} was not registered by Headrace (it has no tag "
            f"{DIGEST_TAG}): use a version of a TrainingJob, or spec.model.uri"
        )
        raise NotResolved("DigestMissing", message)
    _check_approval(version.model, version.version, version.tags.get(APPROVAL_TAG, ""))
    artifact = Artifact(
        uri=version.source.rstrip("/"),
        digest=version.digest,
        model=version.model,
        version=version.version,
        judged_format=_served(version.tags.get(EVALUATION_FORMAT_TAG)),
        signature=_described(version),
    )
    return Resolved(artifact, _rolled_back(version))


def _served(format: str | None) -> str:
    """A tag may hold anything, and a status may be of a later release: a format that we know, or none."""
    return format if format in list(ModelFormat) else ""


def _described(version: ModelVersion) -> str:
    """The text of its inputs and outputs; empty where its tag has none, or anything else."""
    found = signature.parse(version.tags.get(SIGNATURE_TAG, ""))
    return "" if found is None else found.as_text()


def _check_approval(model: str, version: str, state: str) -> None:
    """A version that no person was asked about has no state. Raises NotResolved."""
    if state == ApprovalState.AWAITING:
        message = (
            f"version {version} of model {model} waits for an approval: kubectl headrace approve TRAININGJOB, for the "
            "TrainingJob that made it; or name another version"
        )
        raise NotResolved("AwaitingApproval", message)
    if state == ApprovalState.REFUSED:
        message = f"version {version} of model {model} was refused by the person who was asked: name another version"
        raise NotResolved("ApprovalRefused", message)


def _rolled_back(version: ModelVersion) -> str | None:
    """A tag may hold anything; a reason in status is one CamelCase word."""
    if version.tags.get(ROLLOUT_TAG) not in (RolloutOutcome.ROLLED_BACK, RolloutOutcome.ABORTED):
        return None
    reason = version.tags.get(REASON_TAG, "")
    fits = len(reason) <= MAX_REASON and re.fullmatch(REASON_PATTERN, reason)
    return reason if fits else RolloutOutcome.ROLLED_BACK.value


async def of_training_job(namespace: str, name: str, kube: KubeClient) -> Artifact:
    """The model that the TrainingJob brought out. Raises NotResolved."""
    found = await kube.get(TRAININGJOBS, namespace, name)
    if found is None:
        message = f"there is no TrainingJob {name!r} in namespace {namespace!r}: correct spec.model.trainingJob.name"
        raise NotResolved("TrainingJobNotFound", message)
    job = TrainingJob.model_validate(found)
    model = job.status.model
    if job.status.state is State.SUCCEEDED and model is not None and model.uri and model.digest and model.version:
        if (approval := model.approval) is not None:
            told = approval.recorded or approval.state is ApprovalState.REFUSED
            _check_approval(model.name or "", model.version, approval.state if told else ApprovalState.AWAITING)
        judged = _served(job.status.evaluation.format if job.status.evaluation is not None else None)
        return Artifact(model.uri.rstrip("/"), model.digest, model.name or "", model.version, judged)
    if job.status.state in (State.SUCCEEDED, State.FAILED):
        raise NotResolved("NoModel", f"TrainingJob {name} ended without a registered model: {job.status.message}")
    if job.spec.schedule is not None:
        message = f"TrainingJob {name} has a schedule and no model of its own: use spec.model.registry with an alias"
        raise NotResolved("TrainingJobScheduled", message)
    state = job.status.state or "not started"
    raise NotResolved("TrainingNotFinished", f"waiting for TrainingJob {name} to succeed; it is {state}")
