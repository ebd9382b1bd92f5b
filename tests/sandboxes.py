"""Pods as a kubelet leaves them that cannot make their sandbox: bound to a node, not set up there, and an Event."""

from headrace.kube.client import KubeClient
from headrace.kube.resources import EVENTS, PODS, Object, Resource

NODE = "node-1"
SAID = 'Failed to create pod sandbox: no runtime for "gvisor" is configured'
_BINDINGS = Resource("", "v1", "bindings", "Binding")
_LONG_AGO = "2020-01-01T00:00:00Z"


async def bound_and_not_prepared(client: KubeClient, pod: Object) -> None:
    """The pod has had a node for long, and its kubelet has not set it up."""
    place = {"name": pod["metadata"]["name"], "namespace": pod["metadata"]["namespace"]}
    await client.create(_BINDINGS, {"metadata": place, "target": {"apiVersion": "v1", "kind": "Node", "name": NODE}})
    conditions = [
        {"type": "PodScheduled", "status": "True", "lastTransitionTime": _LONG_AGO},
        {"type": "PodReadyToStartContainers", "status": "False", "lastTransitionTime": _LONG_AGO},
    ]
    await client.merge_patch(PODS, place["namespace"], place["name"], {"status": {"conditions": conditions}}, "status")


async def sandbox_failed(client: KubeClient, pod: Object) -> None:
    """Its kubelet's Event."""
    meta = pod["metadata"]
    event = {
        "metadata": {"name": f"{meta['name']}.sandbox", "namespace": meta["namespace"]},
        "involvedObject": {
            "apiVersion": "v1",
            "kind": "Pod",
            **{key: meta[key] for key in ("namespace", "name", "uid")},
        },
        "type": "Warning",
        "reason": "FailedCreatePodSandBox",
        "message": SAID,
        "lastTimestamp": _LONG_AGO,
        "source": {"component": "kubelet", "host": NODE},
    }
    await client.create(EVENTS, event)
