"""Who may reach a service's pods over the network (pure).

A canary is judged by what its pods count, so whoever may send to them has a say in the verdict. Policies add up: one
beside it can let more in. The kubelet's probes are let in by every network.
"""

from __future__ import annotations

from headrace.api.modelservice import ModelService
from headrace.kube.resources import Object, Objects
from headrace.labels import MANAGED_BY, MANAGED_BY_HEADRACE, MODEL_SERVICE, MODEL_SERVICE_UID
from headrace.serving.revision import metadata
from headrace.settings import Settings

_NAMESPACE_NAME = "kubernetes.io/metadata.name"


def policy_name(service: str) -> str:
    """With a dot, which no TrainingJob has in its name: their policies are called as they are."""
    return f"{service}.serving"


def render_network_policy(service: ModelService, settings: Settings) -> Object:
    """Lets in its own namespace, the operator's (and with it the release's gateway), the namespaces of the Gateways
    that its route names, and those that the installation lets reach models.
    """
    meta, route = service.metadata, service.spec.route
    parents = {parent.namespace or meta.namespace for parent in route.parent_refs} if route is not None else set()
    named = sorted({meta.namespace, settings.operator_namespace, *parents})
    peers: Objects = [{"namespaceSelector": {"matchExpressions": [_is_one_of(named)]}}]
    if settings.model_clients:
        peers.append({"namespaceSelector": {"matchLabels": dict(settings.model_clients)}})
    labels = {MANAGED_BY: MANAGED_BY_HEADRACE, MODEL_SERVICE: meta.name, MODEL_SERVICE_UID: meta.uid}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(service, policy_name(meta.name), labels),
        "spec": {
            "podSelector": {"matchLabels": {MODEL_SERVICE_UID: meta.uid}},
            "policyTypes": ["Ingress"],
            "ingress": [{"from": peers}],
        },
    }


def _is_one_of(namespaces: list[str]) -> Object:
    return {"key": _NAMESPACE_NAME, "operator": "In", "values": namespaces}
