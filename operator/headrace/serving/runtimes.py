"""The servers that a revision can run (pure): for each its image, its command line, its ports and its probes.

A server is told everything by flags. What the operator has to know of it later, the place of its counters, is written
on its pods as the annotations that Prometheus installations look for, so that people's own Prometheus finds it too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from headrace.api.modelservice import RuntimeName
from headrace.kube.resources import Object
from headrace.rollout.propagation import drain_seconds
from headrace.settings import Settings
from headrace_common.formats import FOLDERS, ModelFormat

MODEL_DIR = "/models/current"
HTTP_PORT = 8080
GRPC_PORT = 8500
METRICS_PORT = 8081
SERVER_GRACE_SECONDS = 25

SCRAPE, SCRAPE_PORT, SCRAPE_PATH = "prometheus.io/scrape", "prometheus.io/port", "prometheus.io/path"

_TENSORFLOW_DIR = FOLDERS[ModelFormat.TENSORFLOW]
_MONITORING_PATH = "/monitoring/prometheus/metrics"
_MONITORING_ANNOTATION = "headrace.dev/monitoring-config"
_MONITORING_DIR, _MONITORING_FILE = "/etc/monitoring", "monitoring.config"


@dataclass(frozen=True)
class Server:
    """One server for one model: parts of its pod template."""

    format: ModelFormat
    image: str
    container: Object  # without name, image, resources and security
    directory: str = ""  # where the loader puts the format, below MODEL_DIR; empty: its own name
    annotations: Mapping[str, str] = field(default_factory=dict)
    volumes: tuple[Object, ...] = ()


def server_of(runtime: RuntimeName, model: str, version: str, digest: str, settings: Settings) -> Server:
    """`model` is the name in the server's URLs, `version` a number in decimal digits."""
    if runtime is RuntimeName.TENSORFLOW_SERVING:
        return _tensorflow_serving(model, version, settings)
    return _onnxruntime(model, version, digest, settings)


def model_path(runtime: RuntimeName, model: str) -> str:
    """Where a server's protocol has the model."""
    return f"/v1/models/{model}" if runtime is RuntimeName.TENSORFLOW_SERVING else f"/v2/models/{model}"


def _onnxruntime(model: str, version: str, digest: str, settings: Settings) -> Server:
    container: Object = {
        "args": [
            f"--model-dir={MODEL_DIR}",
            f"--model-name={model}",
            f"--model-version={version}",
            f"--digest={digest}",
            f"--port={HTTP_PORT}",
            f"--metrics-port={METRICS_PORT}",
            f"--grace-seconds={SERVER_GRACE_SECONDS}",
        ],
        "ports": [
            {"name": "http", "containerPort": HTTP_PORT},
            {"name": "metrics", "containerPort": METRICS_PORT},
        ],
        "readinessProbe": _readiness({"path": f"{model_path(RuntimeName.ONNXRUNTIME, model)}/ready", "port": "http"}),
        "livenessProbe": {
            "httpGet": {"path": "/v2/health/live", "port": "http"},
            "initialDelaySeconds": 10,
            "periodSeconds": 10,
            "failureThreshold": 3,
            "timeoutSeconds": 5,
        },
        "lifecycle": _drain(settings),
    }
    return Server(
        format=ModelFormat.ONNX,
        image=settings.onnxruntime_image,
        container=container,
        annotations=_scraped(METRICS_PORT, "/metrics"),
    )


def _tensorflow_serving(model: str, version: str, settings: Settings) -> Server:
    """The official image and our own server of the same flags: one template fits both.

    The flags are those of tensorflow_model_server. It reads the path of its metrics from a file only; the file is an
    annotation of the pod, so that a revision needs no object more.
    """
    status = {"path": model_path(RuntimeName.TENSORFLOW_SERVING, model), "port": "http"}
    container: Object = {
        # Not the official image's entrypoint: that is a shell script with a model's name and place of its own.
        "command": ["tensorflow_model_server"],
        "args": [
            f"--port={GRPC_PORT}",
            f"--rest_api_port={HTTP_PORT}",
            f"--model_name={model}",
            f"--model_base_path={MODEL_DIR}/{_TENSORFLOW_DIR}",
            f"--monitoring_config_file={_MONITORING_DIR}/{_MONITORING_FILE}",
        ],
        "ports": [
            {"name": "http", "containerPort": HTTP_PORT},
            {"name": "grpc", "containerPort": GRPC_PORT},
        ],
        "readinessProbe": _readiness(status),
        # It listens when the model is loaded; how long that may take is the rollout's progressDeadline to say.
        "livenessProbe": {
            "tcpSocket": {"port": "http"},
            "initialDelaySeconds": 120,
            "periodSeconds": 10,
            "failureThreshold": 6,
            "timeoutSeconds": 5,
        },
        "lifecycle": _drain(settings),
        "volumeMounts": [{"name": "monitoring", "mountPath": _MONITORING_DIR, "readOnly": True}],
    }
    config = f'prometheus_config {{ enable: true, path: "{_MONITORING_PATH}" }}'
    source = {"fieldPath": f"metadata.annotations['{_MONITORING_ANNOTATION}']"}
    return Server(
        format=ModelFormat.TENSORFLOW,
        image=settings.tensorflow_serving_image,
        container=container,
        directory=f"{_TENSORFLOW_DIR}/{version}",
        annotations={**_scraped(HTTP_PORT, _MONITORING_PATH), _MONITORING_ANNOTATION: config},
        volumes=({"name": "monitoring", "downwardAPI": {"items": [{"path": _MONITORING_FILE, "fieldRef": source}]}},),
    )


def _readiness(ask: Object) -> Object:
    """A pod that goes away says so itself. One that is slow to answer, as all of a starved node are at once, is not to
    be taken away from the others: then nobody answers.
    """
    return {"httpGet": ask, "periodSeconds": 2, "timeoutSeconds": 5, "failureThreshold": 2}


def _drain(settings: Settings) -> Object:
    """A pod that is going takes requests until the gateway has let go of it."""
    return {"preStop": {"sleep": {"seconds": drain_seconds(settings.gateway_throttle)}}}


def _scraped(port: int, path: str) -> dict[str, str]:
    return {SCRAPE: "true", SCRAPE_PORT: str(port), SCRAPE_PATH: path}
