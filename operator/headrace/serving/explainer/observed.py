"""Tells what belongs to an explainer from what belongs to revisions, and reads it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

from headrace.kube.resources import DEPLOYMENTS, HTTPROUTES, Object, Objects, Resource
from headrace.labels import EXPLAINER, EXPLAINS, ROLE
from headrace.rollout.route import acceptance
from headrace.serving.observed import ObservedExplainer, Owned, ServingPod, Trouble, read_missing_pods, read_pod

_RESOURCES = re.compile(r"\b(?:spec\.)?resources\b(?=[., ])")


def is_explainers(obj: Object) -> bool:
    """Whether the object or pod is an explainer's."""
    return (obj["metadata"].get("labels") or {}).get(ROLE) == EXPLAINER


def read_explainer(
    owned: Iterable[tuple[Resource, Object]],
    pods: Objects,
    throttle: timedelta,
    refusal: Trouble | None,
    secret: str = "",
) -> ObservedExplainer:
    """From the objects of one service's explainer; `secret` is the Secret that `spec.storage` names."""
    found = dict(owned)
    deployment = found.get(DEPLOYMENTS)
    accepted, message = acceptance(found.get(HTTPROUTES))
    missing = read_missing_pods(deployment) if deployment is not None else None
    return ObservedExplainer(
        pods=tuple(_read_pod(pod, throttle, secret) for pod in pods),
        owned=tuple(
            Owned(resource, obj["metadata"]["name"], obj["metadata"]["uid"], "") for resource, obj in found.items()
        ),
        refusal=refusal,
        missing_pods=_in_its_terms(missing),
        route_accepted=accepted,
        route_message=message,
    )


def _read_pod(obj: Object, throttle: timedelta, secret: str) -> ServingPod:
    pod = read_pod(obj, throttle, secret)
    return replace(pod, revision=obj["metadata"]["labels"].get(EXPLAINS, ""), trouble=_in_its_terms(pod.trouble))


def _in_its_terms(trouble: Trouble | None) -> Trouble | None:
    """Its resources are not the servers'."""
    if trouble is None:
        return None
    message, hint = (_RESOURCES.sub("spec.explain.resources", text) for text in (trouble.message, trouble.hint))
    return replace(trouble, message=message, hint=hint)
