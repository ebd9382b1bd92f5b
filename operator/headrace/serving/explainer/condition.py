"""What the condition ExplainerReady says (pure): the one place where an explainer's state is told."""

from __future__ import annotations

from headrace.api.modelservice import ModelService, ModelServiceStatus, Revision
from headrace.conditions import Fact
from headrace.sentences import joined
from headrace.serving.addresses import explain_url
from headrace.serving.observed import Observed, Trouble
from headrace.serving.served import format_of, runtime_of
from headrace.serving.target import named
from headrace.settings import Settings
from headrace_common.formats import ModelFormat

EXPLAINER_READY = "ExplainerReady"


def explainer_fact(
    service: ModelService, status: ModelServiceStatus, observed: Observed, settings: Settings
) -> Fact | None:
    """Whether requests for explanations are answered, for which reason, and a message; None: nobody asked for it."""
    explain, stable, seen = service.spec.explain, status.stable, observed.explainer
    if explain is None:
        return None
    if not is_explainable(service, stable, observed, settings):
        message = (
            "explanations are made with the model's ONNX format, and runtime "
            f"{runtime_of(service, stable, observed, settings)} does not "
            "serve it: choose one that does, or leave spec.explain out"
        )
        return False, "FormatNotServed", message
    if stable is None:
        return None, "NotYet", "the explainer is started when the first version is stable"
    pods = seen.pods_of(stable.revision)
    ready = sum(pod.ready for pod in pods)
    trouble = _worst((seen.refusal, seen.missing_pods, *(pod.trouble for pod in pods if not pod.ready)))
    if ready == 0 or seen.refusal is not None:
        if trouble is not None:
            return False, trouble.reason, f"{named(stable)} is not explained: {joined(trouble.message, trouble.hint)}"
        waits = f"waiting for the first of {explain.replicas} pods to become ready, to explain {named(stable)}"
        return False, "WaitingForPods", waits
    if service.spec.route is not None:
        if observed.route_conflict or not observed.gateway_api:
            message = "the explainer has no route, because the service has none: see condition RouteAccepted"
            return False, "RouteConflict" if observed.route_conflict else "GatewayAPIMissing", message
        if seen.route_accepted is None:
            return None, "RoutePending", "no Gateway has reported on the HTTPRoute of the explainer yet"
        if not seen.route_accepted:
            message = f"the Gateway does not accept the HTTPRoute of the explainer: {seen.route_message}"
            return False, "RouteRefused", f"{message}; check spec.route"
    count = f"{ready} of {explain.replicas} pods are ready and explain {named(stable)}"
    return True, "Explaining", f"{count} at {explain_url(service)}"


def is_explainable(service: ModelService, stable: Revision | None, observed: Observed, settings: Settings) -> bool:
    """Whether what answers requests is the format that is explained; of a runtime that is not known now nothing is
    said here. While another runtime is rolled out it is the old one that answers.
    """
    return format_of(service, stable, observed, settings) in (None, ModelFormat.ONNX)


def _worst(troubles: tuple[Trouble | None, ...]) -> Trouble | None:
    found = [trouble for trouble in troubles if trouble is not None]
    return min(found, key=lambda trouble: not trouble.final, default=None)
