"""What the condition PodCounters says (pure). It is there, and False, where the servers' counters are not read, or do
not have what a check asks for.

It speaks of the two revisions of a rollout as `reconcile` reads them: where one of them tells nothing the gateway
counts both.
"""

from __future__ import annotations

from dataclasses import dataclass

from headrace.api.modelservice import CheckMetric, ModelService, ModelServiceStatus, Revision
from headrace.conditions import Fact
from headrace.rollout.adapter import PodMetrics
from headrace.serving.observed import Observed, annotations_in, metrics_in
from headrace.serving.runtimes.choice import RUNTIME_ANNOTATION
from headrace.settings import Settings

POD_COUNTERS = "PodCounters"
_ANALYSIS_HINT = (
    "no check can pass: leave spec.rollout.analysis out, or let an administrator say how its counters are read"
)


@dataclass(frozen=True)
class _Server:
    """What one revision runs; `untold` says why nothing of it is read where there are no `metrics`."""

    called: str
    untold: str
    metrics: PodMetrics | None


def counters_fact(
    service: ModelService, status: ModelServiceStatus, observed: Observed, settings: Settings
) -> Fact | None:
    """By what a canary is judged, if not by its own pods' counters and the stable revision's; None: by them."""
    servers = _servers(service, status, observed, settings)
    latencies = _latency_checks(service)
    if untold := next((server.untold for server in servers if server.metrics is None), None):
        return _by_the_gateway(service, untold, latencies, settings)
    slow = [server.called for server in servers if server.metrics is not None and server.metrics.latency is None]
    if latencies and slow:
        message = f"{slow[0]} tells no latencies (metrics.latency in servingRuntimes){_never(latencies)}"
        return False, "NoLatencies", message
    return None


def _by_the_gateway(service: ModelService, untold: str, latencies: list[str], settings: Settings) -> Fact:
    if not settings.gateway_metrics_url:
        return False, "NotCounted", f"{untold}, and the gateway is not the release's own: {_ANALYSIS_HINT}"
    if service.spec.route is None:
        message = f"{untold}, and without spec.route no gateway counts: {_ANALYSIS_HINT}"
        return False, "NotCounted", message
    message = f"{untold}: a canary is judged by the gateway's counters alone, which have no latencies and see no NaN"
    return False, "GatewayOnly", f"{message}{_never(latencies)}"


def _never(latencies: list[str]) -> str:
    return f"; these checks never pass, leave them out: {', '.join(latencies)}" if latencies else ""


def _latency_checks(service: ModelService) -> list[str]:
    analysis = service.spec.rollout.analysis
    checks = analysis.checks if analysis is not None else ()
    return [check.name for check in checks if check.metric is not CheckMetric.SUCCESS_RATE]


def _servers(
    service: ModelService, status: ModelServiceStatus, observed: Observed, settings: Settings
) -> list[_Server]:
    """Of the canary, or what would be the next one, and of what is stable."""
    canary = _of_revision(status.canary, observed, settings) or _of_spec(service, settings)
    return [one for one in (canary, _of_revision(status.stable, observed, settings)) if one is not None]


def _of_spec(service: ModelService, settings: Settings) -> _Server | None:
    name = service.spec.runtime.name
    entry = settings.runtimes.get(name)
    return _named(name, entry.metrics) if entry is not None else None


def _of_revision(revision: Revision | None, observed: Observed, settings: Settings) -> _Server | None:
    template = observed.templates.get(revision.revision) if revision is not None else None
    if revision is None or template is None:
        return None
    metrics = metrics_in(template, settings.runtimes)
    if named := annotations_in(template).get(RUNTIME_ANNOTATION):
        return _named(named, metrics)
    called = f"revision {revision.revision}"
    return _Server(called, f"servingRuntimes does not say how the counters of {called} are read", metrics)


def _named(name: str, metrics: PodMetrics | None) -> _Server:
    return _Server(f"runtime {name}", f"runtime {name} has no metrics in servingRuntimes", metrics)
