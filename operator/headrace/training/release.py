"""Lets pods go whose record has been taken: takes our finalizer off (pure)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from headrace.kube.plan import Patch
from headrace.kube.resources import PODS, Object
from headrace.labels import RECORD_FINALIZER
from headrace.training.failures import is_lost
from headrace.training.observed import Pod


def release(namespace: str, pods: Iterable[Pod], now: datetime) -> tuple[Patch, ...]:
    """Patches that take the finalizer off every pod that is over. Pods that still run keep it."""
    return tuple(
        release_pod(namespace, pod.name, pod.uid, pod.resource_version, pod.finalizers)
        for pod in pods
        if pod.held and (pod.is_over or is_lost(pod, now))
    )


def release_objects(pods: Iterable[Object]) -> tuple[Patch, ...]:
    """Patches that take the finalizer off every pod that has it, whatever else is written on the pod."""
    return tuple(
        release_pod(meta["namespace"], meta["name"], meta["uid"], meta["resourceVersion"], finalizers)
        for meta in (pod["metadata"] for pod in pods)
        if RECORD_FINALIZER in (finalizers := meta.get("finalizers") or ())
    )


def release_pod(namespace: str, name: str, uid: str, resource_version: str, finalizers: Iterable[str]) -> Patch:
    """The patch that takes our finalizer off one pod and leaves those of others."""
    kept = [finalizer for finalizer in finalizers if finalizer != RECORD_FINALIZER]
    metadata = {"uid": uid, "resourceVersion": resource_version, "finalizers": kept}
    return Patch(PODS, namespace, name, {"metadata": metadata})
