"""The objects of an explainer (pure). Its pods have no label of a revision: no revision's Service finds them."""

from __future__ import annotations

from headrace.api.common import Resources
from headrace.api.modelservice import Background, Explain, ModelService, Revision
from headrace.kube.resources import Object
from headrace.labels import EXPLAINER, EXPLAINS, MANAGED_BY, MANAGED_BY_HEADRACE, MODEL_SERVICE, MODEL_SERVICE_UID, ROLE
from headrace.overlay import overlay
from headrace.podtext import as_written
from headrace.rollout.route import HTTP_PORT, render_path_route
from headrace.serving.addresses import explain_path, explainer_name
from headrace.serving.revision import metadata, render_pod
from headrace.serving.runtimes.render import METRICS_PORT, MODEL_DIR, Server, drain, scraped
from headrace.serving.runtimes.table import DEFAULT_DRAIN_SECONDS
from headrace.serving.target import artifact_of
from headrace.settings import Settings
from headrace_common.formats import ModelFormat

_PLACEMENT = ("imagePullSecrets", "nodeSelector", "tolerations", "affinity")
_BACKGROUND_DIR, _BACKGROUND_FILE = "/etc/explain", "background.json"


def labels(service: ModelService, stable: Revision) -> dict[str, str]:
    """On every object and pod; EXPLAINS has the revision whose bytes are explained."""
    return {
        MANAGED_BY: MANAGED_BY_HEADRACE,
        MODEL_SERVICE: service.metadata.name,
        MODEL_SERVICE_UID: service.metadata.uid,
        ROLE: EXPLAINER,
        EXPLAINS: stable.revision,
    }


def render_deployment(service: ModelService, explain: Explain, stable: Revision, settings: Settings) -> Object:
    """A successor has to be ready before a pod goes. What both are asked meanwhile names its version."""
    artifact = artifact_of(stable)
    server = _server(service, explain, stable, settings)
    pod = render_pod(service, artifact, server, _resources(explain.resources), settings)
    own = labels(service, stable)
    template: Object = {
        "metadata": {"labels": own, "annotations": dict(server.annotations)},
        "spec": as_written(pod),
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(service, explainer_name(service.metadata.name), own),
        "spec": {
            "replicas": explain.replicas,
            "revisionHistoryLimit": 0,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "selector": {"matchLabels": _selector(service)},
            "template": overlay(template, _placement(service)),
        },
    }


def render_service(service: ModelService, stable: Revision) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(service, explainer_name(service.metadata.name), labels(service, stable)),
        "spec": {
            "selector": _selector(service),
            "ports": [{"name": "http", "port": HTTP_PORT, "targetPort": "http"}],
        },
    }


def render_route(service: ModelService, stable: Revision) -> Object:
    """A route of its own: a Gateway that has something against it has nothing against the service's."""
    name = explainer_name(service.metadata.name)
    own = metadata(service, name, labels(service, stable))
    return render_path_route(service, own, explain_path(service.metadata.name), name)


def _resources(asked: Resources) -> Resources:
    """With the default for a CPU that is not named. A limit alone would be the request too, and set a CPU aside."""
    if "cpu" in asked.limits or "cpu" in asked.requests:
        return asked
    return Resources(limits={**asked.limits, "cpu": "1"}, requests={**asked.requests, "cpu": "10m"})


def _placement(service: ModelService) -> Object:
    """Of the servers' podTemplate what says where a pod may run, and how its images are pulled. Not their priority:
    where there is no room for both, it is the explainer's that goes.
    """
    asked = service.spec.pod_template.get("spec") or {}
    return {"spec": {field: asked[field] for field in _PLACEMENT if field in asked}}


def _selector(service: ModelService) -> dict[str, str]:
    return {MODEL_SERVICE_UID: service.metadata.uid, ROLE: EXPLAINER}


def _server(service: ModelService, explain: Explain, stable: Revision, settings: Settings) -> Server:
    artifact, name = artifact_of(stable), service.metadata.name
    arguments = (
        f"--model-name={name}",
        f"--model-version={artifact.version or '1'}",
        f"--digest={artifact.digest}",
        f"--method={explain.method.value}",
        f"--budget={explain.budget}",
        f"--request-timeout={explain.deadline.total_seconds():g}",
    )
    container = _container(arguments, settings)
    volumes: tuple[Object, ...] = ()
    if explain.background is not None:
        container["args"].append(f"--background={_BACKGROUND_DIR}/{_BACKGROUND_FILE}")
        container["volumeMounts"] = [{"name": "background", "mountPath": _BACKGROUND_DIR, "readOnly": True}]
        volumes = (_volume(explain.background),)
    return Server(
        format=ModelFormat.ONNX.value,
        image=settings.explainer_image,
        container=container,
        annotations=scraped(METRICS_PORT, "/metrics"),
        volumes=volumes,
    )


def _container(arguments: tuple[str, ...], settings: Settings) -> Object:
    """It computes beside its probes, on few CPUs: slow is not dead."""
    return {
        "args": [
            f"--model-dir={MODEL_DIR}",
            *arguments,
            f"--port={HTTP_PORT}",
            f"--metrics-port={METRICS_PORT}",
            f"--grace-seconds={DEFAULT_DRAIN_SECONDS}",
        ],
        "ports": [
            {"name": "http", "containerPort": HTTP_PORT},
            {"name": "metrics", "containerPort": METRICS_PORT},
        ],
        "readinessProbe": {
            "httpGet": {"path": "/v2/health/ready", "port": "http"},
            "periodSeconds": 2,
            "timeoutSeconds": 5,
            "failureThreshold": 2,
        },
        "livenessProbe": {
            "httpGet": {"path": "/v2/health/live", "port": "http"},
            "initialDelaySeconds": 10,
            "periodSeconds": 10,
            "failureThreshold": 6,
            "timeoutSeconds": 5,
        },
        "lifecycle": drain(settings),
    }


def _volume(background: Background) -> Object:
    """Optional: a ConfigMap that is not there is told by the explainer in a sentence; a pod would wait without one."""
    items = [{"key": background.config_map.key, "path": _BACKGROUND_FILE}]
    source = {"name": background.config_map.name, "items": items, "optional": True}
    return {"name": "background", "configMap": source}
