"""Finds pods that have a node and are not set up there, and why: the kubelet says it in Events, not in the pod."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from headrace import sandbox
from headrace.api.scalars import parse_time
from headrace.kube.client import KubeClient
from headrace.kube.events import latest_event
from headrace.kube.resources import Object, Objects
from headrace.serving.observed import ServingPod, Trouble


async def told(
    client: KubeClient, listed: Objects, pods: tuple[ServingPod, ...], now: datetime
) -> tuple[ServingPod, ...]:
    """The pods, with what keeps the first such of each revision: one of them is told."""
    objects = {obj["metadata"]["name"]: obj for obj in listed}
    first: dict[str, ServingPod] = {}
    for pod in pods:
        if pod.trouble is None and not pod.going and not pod.disrupted and is_unprepared(objects[pod.name], now):
            first.setdefault(pod.revision, pod)
    found = {pod.name: await _trouble(client, objects[pod.name]) for pod in first.values()}
    return tuple(replace(pod, trouble=found[pod.name]) if pod.name in found else pod for pod in pods)


def is_unprepared(obj: Object, now: datetime) -> bool:
    """The kubelet has had the pod for a while and not come to its containers. Pulling images comes after that."""
    status = obj.get("status") or {}
    conditions: Mapping[str, Object] = {one["type"]: one for one in status.get("conditions") or ()}
    scheduled = conditions.get("PodScheduled") or {}
    since = parse_time(scheduled.get("lastTransitionTime")) if scheduled.get("status") == "True" else None
    is_set_up = (conditions.get("PodReadyToStartContainers") or {}).get("status") == "True" or status.get("podIP")
    return since is not None and not is_set_up and now > since + sandbox.PREPARED_WITHIN


async def _trouble(client: KubeClient, obj: Object) -> Trouble:
    meta = obj["metadata"]
    return trouble_of(obj, await latest_event(client, meta["namespace"], meta["uid"], sandbox.FAILED_SANDBOX))


def trouble_of(obj: Object, latest: Object | None) -> Trouble:
    """What keeps this pod; `latest` is the kubelet's newest Event of a sandbox that it could not make."""
    meta, node = obj["metadata"], (obj.get("spec") or {}).get("nodeName") or ""
    if latest is not None:
        said = sandbox.not_created(node, str(latest.get("message") or ""))
        return Trouble("Config", "SandboxNotCreated", said, meta["name"], "", sandbox.HINT)
    hint = (
        f"kubectl -n {meta['namespace']} describe pod {meta['name']} names the Secret, ConfigMap or claim that is "
        "missing: create it in this namespace, or correct podTemplate's volumes"
    )
    return Trouble("Config", "VolumesNotReady", sandbox.not_prepared(node), meta["name"], "", hint)
