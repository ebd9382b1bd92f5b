"""A pod has a node and is not set up there (sandbox, network, volumes): since when that is told, and how (pure)."""

from __future__ import annotations

import re
from datetime import timedelta

# The kubelet's Event of a sandbox that it could not make. It tries again, without end.
FAILED_SANDBOX = "FailedCreatePodSandBox"
# A pod that has a node is prepared within seconds; after this long something is missing.
PREPARED_WITHIN = timedelta(seconds=30)
HINT = (
    "have the network plugin (CNI) and the container runtime of this node repaired; where podTemplate has a "
    "runtimeClassName, kubectl get runtimeclasses shows which there are, and the node has to have its handler"
)

_MAX_SAID = 600  # what to do comes after it, and all of it has to fit into a condition

# Each try has another sandbox and network namespace.
_OF_ONE_TRY = re.compile(r' "?[0-9a-f]{64}"?| "?/[^ "]*[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"?')


def not_created(node: str, said: str) -> str:
    """What keeps the pod, in the kubelet's words: the same text for every try that fails of the same."""
    return f"node {node} cannot set up the pod: {_OF_ONE_TRY.sub('', said)[:_MAX_SAID]}"


def not_prepared(node: str) -> str:
    """The same, where there is no Event of a sandbox."""
    return f"node {node} has not prepared the pod: a volume is not mounted, or the pod has no network yet"
