"""After the operator went: takes its finalizer off every training pod, so that no namespace hangs without it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from headrace.kube.client import KubeClient
from headrace.kube.errors import Conflict, Forbidden, Invalid, NotFound
from headrace.kube.resources import PODS
from headrace.labels import MANAGED_SELECTOR
from headrace.training.release import release_objects

PASSES = 5

log = logging.getLogger(__name__)


async def release_pods(kubeconfig: Path | None, namespaces: Sequence[str] = ()) -> None:
    """Let every held pod go, of the named namespaces or of all; one that changes meanwhile is tried again."""
    async with KubeClient.session(kubeconfig) as client:
        for _ in range(PASSES):
            found = [
                pod
                for namespace in namespaces or (None,)
                for pod in await client.list(PODS, namespace, MANAGED_SELECTOR)
            ]
            held = release_objects(found)
            if not held:
                return
            for patch in held:
                try:
                    await client.merge_patch(*patch)
                except (Conflict, NotFound, Forbidden, Invalid) as error:  # one pod's trouble is not the others'
                    log.info("pod %s/%s: %s", patch.namespace, patch.name, error)
        log.warning("some pods still carry the finalizer; run release-pods again")
