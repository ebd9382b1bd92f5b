"""The operator's process: settings from the environment, one connection, the lease, and a reconciler a kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import aiohttp

from headrace.kube.client import KubeClient
from headrace.kube.keys import Key, parent_of
from headrace.kube.lease import Lease
from headrace.kube.queue import Cause
from headrace.kube.resources import (
    CRONJOBS,
    DEPLOYMENTS,
    HTTPROUTES,
    JOBS,
    MODELSERVICES,
    NETWORKPOLICIES,
    PDBS,
    PODS,
    SERVICES,
    TRAININGJOBS,
    Resource,
)
from headrace.kube.runtime import Settings as RuntimeSettings
from headrace.kube.runtime import identity, run
from headrace.kube.shell import Watch
from headrace.labels import MANAGED_SELECTOR, MODEL_SERVICE, SCHEDULE, TRAINING_JOB
from headrace.serving.owners import PromotionOwners
from headrace.serving.reconcile import ServingReconciler
from headrace.settings import Settings
from headrace.tracking.client import MlflowClient
from headrace.tracking.ledger import Ledger
from headrace.training.open_runs import OpenRuns
from headrace.training.reconcile import TrainingReconciler

LEASE_NAME = "headrace"
PRIMARIES: Mapping[Resource, str] = {TRAININGJOBS: TRAINING_JOB, MODELSERVICES: MODEL_SERVICE}
# The Job of a scheduled training is its CronJob's, and nobody else sees it.
FURTHER_LABELS: Mapping[str, Resource] = {SCHEDULE: TRAININGJOBS}
# Foreign objects are filtered at the API server: they cost nothing.
WATCHES = (
    Watch(TRAININGJOBS),
    Watch(MODELSERVICES),
    *(
        Watch(kind, MANAGED_SELECTOR)
        for kind in (JOBS, CRONJOBS, PODS, DEPLOYMENTS, SERVICES, PDBS, NETWORKPOLICIES, HTTPROUTES)
    ),
)


async def operate(settings: Settings, kubeconfig: Path | None = None) -> None:
    """Run the operator until SIGTERM."""
    async with KubeClient.session(kubeconfig) as client, aiohttp.ClientSession() as http:
        lease = Lease(client, settings.operator_namespace, LEASE_NAME, identity())
        write = client.guarded(lease.valid)
        mlflow = _mlflow(settings, http, lease.valid)
        ledger = Ledger(mlflow, PromotionOwners(client).has) if mlflow is not None else None

        def reconcilers() -> BothKinds:
            training = TrainingReconciler(write, http, settings, ledger)
            return BothKinds(training, ServingReconciler(write, http, settings, ledger, mlflow))

        runtime = RuntimeSettings(namespaces=settings.namespaces, health_port=settings.health_port)
        open_runs = OpenRuns(client, settings.operator_namespace)
        await run(reconcilers, WATCHES, parent_of(PRIMARIES, FURTHER_LABELS), client, lease, runtime, open_runs.keys)


class BothKinds:
    """A reconciler for each kind."""

    def __init__(self, training: TrainingReconciler, serving: ServingReconciler) -> None:
        self._training = training
        self._serving = serving

    async def reconcile(self, key: Key, cause: Cause) -> float | None:
        if key.resource == MODELSERVICES:
            return await self._serving.reconcile(key, cause)
        return await self._training.reconcile(key)

    def is_urgent(self, key: Key) -> bool:
        return self._serving.is_urgent(key)

    async def close(self) -> None:
        await self._serving.close()


def _mlflow(settings: Settings, http: aiohttp.ClientSession, may_write: Callable[[], bool]) -> MlflowClient | None:
    found = settings.tracking
    return MlflowClient(found.url, found.username, found.password, http, may_write) if found is not None else None
