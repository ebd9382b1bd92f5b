"""The operator's process: settings from the environment, one connection, the lease, and a reconciler a kind."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import aiohttp

from headrace.kube.client import KubeClient
from headrace.kube.keys import Key, parent_of
from headrace.kube.lease import Lease
from headrace.kube.resources import DEPLOYMENTS, HTTPROUTES, JOBS, MODELSERVICES, PODS, TRAININGJOBS, Resource
from headrace.kube.runtime import Settings as RuntimeSettings
from headrace.kube.runtime import identity, run
from headrace.kube.shell import Watch
from headrace.labels import MANAGED_SELECTOR, MODEL_SERVICE, TRAINING_JOB
from headrace.serving.reconcile import ServingReconciler
from headrace.settings import Settings
from headrace.tracking.client import MlflowClient
from headrace.tracking.ledger import Ledger
from headrace.training.reconcile import TrainingReconciler

LEASE_NAME = "headrace"
PRIMARIES: Mapping[Resource, str] = {TRAININGJOBS: TRAINING_JOB, MODELSERVICES: MODEL_SERVICE}
# Foreign objects are filtered at the API server: they cost nothing.
WATCHES = (
    Watch(TRAININGJOBS),
    Watch(MODELSERVICES),
    *(Watch(kind, MANAGED_SELECTOR) for kind in (JOBS, PODS, DEPLOYMENTS, HTTPROUTES)),
)


async def operate(settings: Settings, kubeconfig: Path | None = None) -> None:
    """Run the operator until SIGTERM."""
    async with KubeClient.session(kubeconfig) as client, aiohttp.ClientSession() as http:
        lease = Lease(client, settings.operator_namespace, LEASE_NAME, identity())
        write = client.guarded(lease.valid)
        mlflow = _mlflow(settings, http)
        ledger = Ledger(mlflow) if mlflow is not None else None
        reconcilers = {
            TRAININGJOBS: TrainingReconciler(write, http, settings, ledger).reconcile,
            MODELSERVICES: ServingReconciler(write, http, settings, ledger, mlflow).reconcile,
        }

        async def reconcile(key: Key) -> float | None:
            return await reconcilers[key.resource](key)

        runtime = RuntimeSettings(namespaces=settings.namespaces, health_port=settings.health_port)
        await run(reconcile, WATCHES, parent_of(PRIMARIES), client, lease, runtime)


def _mlflow(settings: Settings, http: aiohttp.ClientSession) -> MlflowClient | None:
    tracking = settings.tracking
    return MlflowClient(tracking.url, tracking.username, tracking.password, http) if tracking is not None else None
