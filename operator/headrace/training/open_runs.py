"""Runs that something may still go on in, so that a TrainingJob's deletion ends its run.

A TrainingJob has no finalizer: it may go at any time, between two attempts too, when no pod of its own is left to tell
of it, and while no operator runs. So before the first attempt an entry is made in a ConfigMap of the operator's own
namespace, which outlives the job and its namespace, and taken away when the job has come to its end. The sweep hands
over the keys of all entries; the run of an entry whose job is gone is ended (`reconcile`). An entry has about 200
bytes: there is room for 5,000 unfinished TrainingJobs.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass

from headrace.kube.client import KubeClient
from headrace.kube.errors import NotFound
from headrace.kube.keys import Key
from headrace.kube.resources import CONFIGMAPS, TRAININGJOBS

CONFIGMAP = "headrace-open-runs"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OpenRun:
    """The run of the TrainingJob with this uid, found in MLflow by it."""

    uid: str
    namespace: str
    name: str
    experiment_id: str


class OpenRuns:
    """`client` is the guarded one; `namespace` is the operator's."""

    def __init__(self, client: KubeClient, namespace: str) -> None:
        self._client = client
        self._namespace = namespace

    async def remember(self, run: OpenRun) -> None:
        """Before the job's pods are made."""
        value = json.dumps({"namespace": run.namespace, "name": run.name, "experimentId": run.experiment_id})
        await self._write({run.uid: value})

    async def forget(self, uid: str) -> None:
        """The run has its end."""
        await self._write({uid: None})

    async def of(self, namespace: str, name: str) -> tuple[OpenRun, ...]:
        """Those of all TrainingJobs that had this name."""
        return tuple(run for run in await self._all() if (run.namespace, run.name) == (namespace, name))

    async def keys(self) -> tuple[Key, ...]:
        """Of the TrainingJobs, for the sweep: nobody else may know any more that they were there."""
        return tuple(Key(TRAININGJOBS, run.namespace, run.name) for run in await self._all())

    async def _all(self) -> tuple[OpenRun, ...]:
        found = await self._client.get(CONFIGMAPS, self._namespace, CONFIGMAP)
        data = (found or {}).get("data") or {}
        runs = (_read(uid, value) for uid, value in sorted(data.items()))
        return tuple(run for run in runs if run is not None)

    async def _write(self, data: dict[str, str | None]) -> None:
        try:
            await self._client.merge_patch(CONFIGMAPS, self._namespace, CONFIGMAP, {"data": data})
        except NotFound:
            metadata = {"namespace": self._namespace, "name": CONFIGMAP}
            kept = {uid: value for uid, value in data.items() if value is not None}
            # A Conflict, where another worker was first, has the key looked at again.
            await self._client.create(CONFIGMAPS, {"metadata": metadata, "data": kept})


def _read(uid: str, text: str) -> OpenRun | None:
    """An entry; None for what somebody else has written, which must not keep the others from their end."""
    try:
        value = json.loads(text)
        return OpenRun(uid, str(value["namespace"]), str(value["name"]), str(value["experimentId"]))
    except (ValueError, KeyError, TypeError):
        log.warning("the entry %s of ConfigMap %s is none of ours", uid, CONFIGMAP)
        return None
