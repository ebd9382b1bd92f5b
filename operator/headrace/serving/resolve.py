"""From what a ModelService names to the artifact that it means: alias, version, TrainingJob or uri.

The operator asks the registry with its own credential, by polling; it never reads the artifact's bytes.
"""

from __future__ import annotations

from headrace.api.modelservice import ModelService
from headrace.api.trainingjob import State, TrainingJob
from headrace.kube.client import KubeClient
from headrace.kube.resources import TRAININGJOBS
from headrace.serving.revision import Artifact
from headrace.tracking.client import MlflowClient
from headrace.tracking.errors import NotFound
from headrace.tracking.ledger import Ledger, model_name
from headrace.tracking.records import ModelVersion


class NotResolved(Exception):
    """The model cannot be told now. `reason` is the condition's."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


async def resolve(
    service: ModelService, kube: KubeClient, ledger: Ledger | None, mlflow: MlflowClient | None
) -> Artifact:
    """The artifact. Raises NotResolved, or a TrackingError where MLflow is away or refuses."""
    model = service.spec.model
    if model.uri is not None:
        return Artifact(uri=model.uri.rstrip("/"))
    if model.training_job is not None:
        return await of_training_job(service.metadata.namespace, model.training_job.name, kube)
    assert model.registry is not None
    if ledger is None or mlflow is None:
        raise NotResolved("TrackingNotConfigured", "spec.model.registry is set, but this installation has no MLflow")
    name = model_name(service.metadata.namespace, model.registry.name)
    if model.registry.alias is not None:
        found = await ledger.resolve(name, model.registry.alias)
        if found is None:
            message = f"model {name} has no alias {model.registry.alias!r}; a TrainingJob with output.alias sets it"
            raise NotResolved("AliasNotFound", message)
        return _registered(found)
    assert model.registry.version is not None
    try:
        return _registered(await mlflow.get_model_version(name, model.registry.version))
    except NotFound as error:
        raise NotResolved("VersionNotFound", f"model {name} has no version {model.registry.version}") from error


def _registered(version: ModelVersion) -> Artifact:
    if not version.digest:
        message = f"version {version.version} of model {version.model} has no digest: Headrace did not register it"
        raise NotResolved("DigestMissing", message)
    return Artifact(version.source.rstrip("/"), version.digest, version.model, version.version)


async def of_training_job(namespace: str, name: str, kube: KubeClient) -> Artifact:
    """The model that the TrainingJob brought out. Raises NotResolved."""
    found = await kube.get(TRAININGJOBS, namespace, name)
    if found is None:
        raise NotResolved("TrainingJobNotFound", f"there is no TrainingJob {name!r} in namespace {namespace!r}")
    job = TrainingJob.model_validate(found)
    model = job.status.model
    if job.status.state is State.SUCCEEDED and model is not None and model.uri and model.digest and model.version:
        return Artifact(model.uri.rstrip("/"), model.digest, model.name or "", model.version)
    if job.status.state in (State.SUCCEEDED, State.FAILED):
        raise NotResolved("NoModel", f"TrainingJob {name} ended without a registered model: {job.status.message}")
    raise NotResolved("TrainingNotFinished", f"TrainingJob {name} is {job.status.state or 'not started'}")
