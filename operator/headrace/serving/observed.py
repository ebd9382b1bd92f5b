"""What the cluster shows of one ModelService, as values: the edge where Kubernetes' JSON becomes types."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from headrace.api.scalars import REASON_PATTERN, parse_time
from headrace.kube.resources import Object, Resource
from headrace.labels import REVISION
from headrace.rollout.adapter import PodMetrics
from headrace.rollout.counters import Counters
from headrace.rollout.propagation import THROTTLE, settle_time
from headrace.serving.revision import LOADER, PROGRESS, Artifact
from headrace.serving.runtimes.choice import metrics_of
from headrace.serving.runtimes.render import METRICS_PORT, SCRAPE_PATH, SCRAPE_PORT
from headrace.serving.runtimes.table import Runtimes
from headrace.storage_secret import hint_if_missing
from headrace.tenancy.objects import READ_SECRET
from headrace_common.protocol.loading import Loading, parse_loaded

# A pod that has just become ready may not be known to the gateway yet.
SETTLE = settle_time(THROTTLE)
CRASH_RESTARTS = 2
_MAX_MESSAGE = 700


@dataclass(frozen=True)
class Trouble:
    """What keeps a serving pod from working, by its own record or by the kubelet."""

    failure_class: str
    reason: str
    message: str
    pod: str
    container: str
    hint: str = ""
    exit_code: int | None = None
    final: bool = False  # trying again cannot help

    @property
    def is_platforms(self) -> bool:
        """No fault of the model: no node, image, Secret or quota for the pod, a store that is away."""
        return not self.final and self.failure_class in ("Scheduling", "Image", "Config", "Storage")


@dataclass(frozen=True)
class ServingPod:
    """One pod of a revision."""

    name: str
    revision: str
    ip: str
    ready: bool
    ready_since: datetime | None
    going: bool
    trouble: Trouble | None
    created: datetime | None = None
    disrupted: bool = False  # it is being taken from outside: deleted, evicted, preempted, lost with its node
    ended: bool = False
    settles_in: timedelta = SETTLE
    metrics: tuple[int, str] = (METRICS_PORT, "/metrics")  # port and path of its counters
    loader_port: int | None = None  # while its loader is at work, and can be asked how far it is
    loading: Loading | None = None  # what it answered, or has left as its record
    annotations: Mapping[str, str] = field(default_factory=dict)

    def takes_requests(self, now: datetime) -> bool:
        """Ready for long enough that the gateway knows it."""
        if not self.ready or self.going or self.ready_since is None:
            return False
        return now >= self.ready_since + self.settles_in


@dataclass(frozen=True)
class Owned:
    """An object of this service that may have to be pruned."""

    resource: Resource
    name: str
    uid: str
    revision: str


@dataclass(frozen=True)
class ObservedExplainer:
    """What there is of a service's explainer; the revision of its pods is the one that they explain."""

    pods: tuple[ServingPod, ...] = ()
    owned: tuple[Owned, ...] = ()
    refusal: Trouble | None = None  # why the API server, or somebody else's object, was in the way in the last pass
    missing_pods: Trouble | None = None
    route_accepted: bool | None = None
    route_message: str = ""

    def pods_of(self, revision: str) -> tuple[ServingPod, ...]:
        return tuple(pod for pod in self.pods if pod.revision == revision and not pod.going)


@dataclass(frozen=True)
class Observed:
    """All that a plan for one ModelService may know."""

    artifact: Artifact | None
    artifact_problem: tuple[str, str] | None  # reason and message
    pods: tuple[ServingPod, ...] = ()
    templates: Mapping[str, Object] = field(default_factory=dict)  # by revision, as first rendered
    owned: tuple[Owned, ...] = ()
    counters: Mapping[str, Counters] = field(default_factory=dict)  # by pod
    gateway: Mapping[str, Counters] = field(default_factory=dict)  # of the canary, by instance of the gateway
    # By revision, where the pods of one of a rollout's two tell no counters: then the gateway counts both.
    at_gateway: Mapping[str, Mapping[str, Counters]] = field(default_factory=dict)
    gateway_api: bool = True  # whether the cluster knows HTTPRoutes
    gateway_throttle: timedelta = THROTTLE  # how long the gateway collects changes
    policy: Object | None = None  # the live NetworkPolicy's spec
    weights: Mapping[str, int] | None = None  # by Service, in the live HTTPRoute; None: there is none
    route_conflict: str = ""  # NAMESPACE/NAME of the route that was there first
    route_kept: Object | None = None  # its own, where only what is newly asked for is somebody else's
    route_accepted: bool | None = None
    route_message: str = ""
    route_behind: str = ""  # which condition speaks of an earlier generation of the route; empty: none does
    watched_since: datetime | None = None  # since when this operator is the one that acts
    refusal: Trouble | None = None  # the API server did not take an object of the last pass
    missing_pods: Mapping[str, Trouble] = field(default_factory=dict)  # by revision whose pods cannot be made
    promoted: Artifact | None = None  # where the promotion alias points; asked for before anything is stable
    rolled_back: Mapping[Artifact, str] = field(default_factory=dict)  # the reason in the tags of their versions
    explainer: ObservedExplainer = ObservedExplainer()

    def pods_of(self, revision: str) -> tuple[ServingPod, ...]:
        """The pods of one revision that are not on their way out."""
        return tuple(pod for pod in self.pods if pod.revision == revision and not pod.going)

    def is_disrupted(self, revision: str) -> bool:
        """Whether a pod of the revision is being taken from outside."""
        return any(pod.revision == revision and pod.disrupted and not pod.ended for pod in self.pods)

    def is_replaced(self, revision: str, since: datetime) -> bool:
        """Whether no pod is left of those that the revision had then; a pod's age is known to the second."""
        then = since.replace(microsecond=0)
        return not any(
            pod.revision == revision and not pod.disrupted and (pod.created is None or pod.created < then)
            for pod in self.pods
        )

    def counters_of(self, revision: str) -> Mapping[str, Counters]:
        """The counters of a revision's pods, those that are going included; or what stands for them."""
        if self.at_gateway:
            return self.at_gateway.get(revision, {})
        names = {pod.name for pod in self.pods if pod.revision == revision}
        return {name: counters for name, counters in self.counters.items() if name in names}


def refused(message: str, *, for_good: bool) -> Trouble:
    """The API server does not take an object that the spec asks for."""
    hint = "the API server rejected this object: correct the ModelService's spec, or raise the quota if one is exceeded"
    return Trouble("Config", "Refused", message[:_MAX_MESSAGE], "", "", hint, final=for_good)


def read_missing_pods(deployment: Object) -> Trouble | None:
    """Why a Deployment's controller cannot make its pods; None where it can."""
    conditions = (deployment.get("status") or {}).get("conditions") or ()
    failed = next((c for c in conditions if (c["type"], c["status"]) == ("ReplicaFailure", "True")), None)
    if failed is None:
        return None
    message = str(failed.get("message") or "the controller of the Deployment cannot create its pods")
    hint = "raise the namespace's quota, request less in spec.resources, or keep to its pod security level"
    return Trouble("Config", "PodsRefused", message[:_MAX_MESSAGE], "", "", hint)


def read_pod(obj: Object, throttle: timedelta = THROTTLE, secret: str = "") -> ServingPod:
    """A serving pod from its JSON; `throttle` is its gateway's, `secret` the Secret that `spec.storage` names."""
    meta, status = obj["metadata"], obj.get("status") or {}
    conditions = {condition["type"]: condition for condition in status.get("conditions") or ()}
    ready = conditions.get("Ready") or {}
    disrupted = _is_disrupted(meta, conditions)
    loader_port, loading = _loader(obj.get("spec") or {}, status)
    return ServingPod(
        name=meta["name"],
        revision=(meta.get("labels") or {}).get(REVISION, ""),
        ip=status.get("podIP") or "",
        ready=ready.get("status") == "True",
        ready_since=parse_time(ready.get("lastTransitionTime")),
        going=bool(meta.get("deletionTimestamp")),
        trouble=None if disrupted else _of_storage(_trouble(meta["name"], status, conditions), meta, secret),
        created=parse_time(meta.get("creationTimestamp")),
        disrupted=disrupted,
        ended=status.get("phase") in ("Succeeded", "Failed"),
        settles_in=settle_time(throttle),
        metrics=metrics_place(meta.get("annotations") or {}),
        loader_port=loader_port,
        loading=loading,
        annotations=meta.get("annotations") or {},
    )


def _is_disrupted(meta: Object, conditions: Mapping[str, Object]) -> bool:
    """A deletion tells it, or the condition DisruptionTarget (eviction, preemption, a node's shutdown). Where a node
    does not answer any more, its pods are said not to be ready by a controller that does not know of their containers.
    """

    def is_(kind: str, value: str) -> bool:
        return (conditions.get(kind) or {}).get("status") == value

    gates = (conditions.get("Ready") or {}).get("reason") == "ReadinessGatesNotReady"
    lost = is_("Ready", "False") and is_("ContainersReady", "True") and not gates
    return bool(meta.get("deletionTimestamp")) or is_("DisruptionTarget", "True") or lost


def metrics_place(annotations: Mapping[str, str]) -> tuple[int, str]:
    """Where a pod's template says that its counters are; nothing is read but from the pod itself."""
    port, path = annotations.get(SCRAPE_PORT, ""), annotations.get(SCRAPE_PATH, "")
    known = re.fullmatch("[0-9]{1,5}", port) and re.fullmatch("(/[A-Za-z0-9_.-]+)+", path)
    return (int(port), path) if known and 0 < int(port) < 65536 else (METRICS_PORT, "/metrics")


def _loader(spec: Object, status: Object) -> tuple[int | None, Loading | None]:
    """The port at which the loader can be asked now, and the record of one that has done its work."""
    state = next((one.get("state") or {} for one in status.get("initContainerStatuses") or () if _is_loader(one)), {})
    if "running" in state:
        ports = [port for one in spec.get("initContainers") or () if _is_loader(one) for port in one.get("ports") or ()]
        return next((port["containerPort"] for port in ports if port.get("name") == PROGRESS), None), None
    ended = state.get("terminated") or {}
    return None, parse_loaded(ended.get("message") or "") if ended.get("exitCode") == 0 else None


def _is_loader(container: Object) -> bool:
    return bool(container["name"] == LOADER)


def annotations_in(template: Object) -> Mapping[str, str]:
    """What the pods of this template are annotated with."""
    found: Mapping[str, str] = template.get("metadata", {}).get("annotations") or {}
    return found


def metrics_in(template: Object, runtimes: Runtimes) -> PodMetrics | None:
    """How the counters of the pods of this template are read. None: there is no way."""
    annotations = annotations_in(template)
    return metrics_of(annotations, metrics_place(annotations), runtimes)


def _of_storage(trouble: Trouble | None, meta: Object, secret: str) -> Trouble | None:
    """The same, with what to do where it is the Secret of `spec.storage` that is missing."""
    if trouble is None or trouble.reason != "ContainerConfig":
        return trouble
    correct = "change the field to"
    namespace = meta.get("namespace", "")
    hint = hint_if_missing(trouble.message, secret, own=READ_SECRET, namespace=namespace, correct=correct)
    return replace(trouble, hint=hint or trouble.hint)


def _trouble(pod: str, status: Object, conditions: Mapping[str, Object]) -> Trouble | None:
    for kind in ("initContainerStatuses", "containerStatuses"):
        for container in status.get(kind) or ():
            if found := _container_trouble(pod, container):
                return found
    scheduled = conditions.get("PodScheduled") or {}
    if scheduled.get("status") == "False":
        hint = "request less in spec.resources, or add a node that fits"
        message = scheduled.get("message") or "the pod is not scheduled to a node"
        return Trouble("Scheduling", "Unschedulable", message, pod, "", hint)
    return None


def _container_trouble(pod: str, container: Object) -> Trouble | None:
    name, state = container["name"], container.get("state") or {}
    waiting, last = state.get("waiting") or {}, (container.get("lastState") or {}).get("terminated") or {}
    ended = state.get("terminated") or last
    if ended and ended.get("exitCode") != 0:
        return _ended(pod, name, ended, container.get("restartCount") or 0)
    reason, message = waiting.get("reason") or "", waiting.get("message") or ""
    said = f"{reason}: {message}" if message else reason
    if reason in ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"):
        hint = "check image and images in the chart's values, and the pull Secrets"
        return Trouble("Image", "ImagePull", said, pod, name, hint)
    if reason in ("CreateContainerConfigError", "CreateContainerError"):
        hint = "create what the message names in this namespace (headrace tenant add creates Headrace's own Secrets)"
        return Trouble("Config", "ContainerConfig", said, pod, name, hint)
    return None


def _ended(pod: str, container: str, ended: Object, restarts: int) -> Trouble:
    exit_code, message = ended.get("exitCode"), ended.get("message") or ""
    read_log = f"read its log: kubectl logs {pod} -c {container} --previous"
    record = _record(message)
    if record is not None:
        failure_class, reason = str(record.get("class", "Data"))[:32], str(record.get("reason", ""))[:64]
        if not re.fullmatch(REASON_PATTERN, reason):  # the API server would refuse the whole status for it
            reason = "Failed"
        text = str(record.get("message") or f"container {container} failed and gives no message")[:1000]
        hint = str(record.get("hint") or read_log)[:500]
        final = failure_class in ("Data", "Config")
        return Trouble(failure_class, reason, text, pod, container, hint, exit_code, final)
    if ended.get("reason") == "OOMKilled":
        hint = "raise resources.limits.memory"
        text = "the container used more memory than resources.limits.memory"
        return Trouble("OOM", "OutOfMemory", text, pod, container, hint, exit_code, restarts >= 1)
    said = f": {message[-500:]}" if message.strip() else ""
    text = f"container {container} of pod {pod} ended with exit code {exit_code}{said}"
    return Trouble("Killed", "Crashed", text, pod, container, read_log, exit_code, restarts >= CRASH_RESTARTS)


def _record(message: str) -> Object | None:
    if not message.startswith("{"):
        return None
    try:
        found = json.loads(message)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and found.get("outcome") == "Failed" else None
