"""A revision: what the user asked for together with one artifact, and the objects that serve it (pure).

Its name is a hash of both. Its rendered pod template is kept in a ControllerRevision, so that a new release of the
operator, which renders differently, leaves running revisions alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from headrace.api.common import Resources
from headrace.api.modelservice import ModelService
from headrace.api.scalars import format_time
from headrace.kube.ownership import controller_reference
from headrace.kube.resources import MODELSERVICES, Object
from headrace.labels import MANAGED_BY, MANAGED_BY_HEADRACE, MODEL_SERVICE, MODEL_SERVICE_UID, REVISION
from headrace.overlay import overlay
from headrace.podsecurity import container_security, pod_security
from headrace.podtext import as_written
from headrace.rollout.propagation import drain_seconds
from headrace.rollout.route import HTTP_PORT
from headrace.serving.runtimes.render import MODEL_DIR, Server, Words, server_of
from headrace.settings import Settings
from headrace_common.protocol import PROGRESS_PORT
from headrace_common.protocol.load import VARIABLE, LoadRequest
from headrace_common.protocol.storage import Storage

SERVER = "server"
LOADER = "loader"
PROGRESS = "progress"  # the loader's port
GRPC_PORT = 8500
# A Service's ports, whatever the server's own are: clients need not know which server it is. Without TLS nothing on the
# wire says that it is HTTP/2: proxies are told.
_REQUEST_PORTS: Mapping[str, Object] = {
    "http": {"port": HTTP_PORT},
    "grpc": {"port": GRPC_PORT, "appProtocol": "kubernetes.io/h2c"},
}
_LOADER_RESOURCES = ("cpu", "memory", "ephemeral-storage")


@dataclass(frozen=True)
class Artifact:
    """A resolved model: where it lies, its digest (empty for a bare uri), and its version in the registry.
    No part of what it is: `judged_format`, the one format that an evaluation has run, and `signature`, the text of its
    inputs and outputs; empty where they are not known.
    """

    uri: str
    digest: str = ""
    model: str = ""
    version: str = ""
    judged_format: str = field(default="", compare=False)
    signature: str = field(default="", compare=False)


def revision_name(service: ModelService, artifact: Artifact) -> str:
    """SERVICE-HASH: the same for the same wish and the same bytes, whatever release of the operator asks.

    Only what differs from a default is hashed: a field that a later release adds changes no name by being there.
    """
    spec = service.spec
    parts = {"runtime": spec.runtime, "resources": spec.resources, "storage": spec.storage}
    wish: Object = {"artifact": artifact.digest or artifact.uri}
    for name, part in parts.items():
        if part is not None and (set_fields := part.model_dump(mode="json", by_alias=True, exclude_defaults=True)):
            wish[name] = set_fields
    if spec.service_account_name:
        wish["serviceAccountName"] = spec.service_account_name
    if spec.pod_template:
        wish["podTemplate"] = spec.pod_template
    restart = service.status.restart
    if restart is not None and restart.artifact == (artifact.digest or artifact.uri):
        wish["restartedAt"] = format_time(restart.at)
    text = json.dumps(wish, sort_keys=True)
    return f"{service.metadata.name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def labels(service: ModelService, revision: str) -> dict[str, str]:
    """On every object and pod of a revision."""
    return {
        MANAGED_BY: MANAGED_BY_HEADRACE,
        MODEL_SERVICE: service.metadata.name,
        MODEL_SERVICE_UID: service.metadata.uid,
        REVISION: revision,
    }


def metadata(service: ModelService, name: str, extra: dict[str, str]) -> Object:
    """Name, labels and owner of an object of this service."""
    return {
        "name": name,
        "namespace": service.metadata.namespace,
        "labels": extra,
        "ownerReferences": [controller_reference(MODELSERVICES, service.metadata.name, service.metadata.uid)],
    }


def render_record(service: ModelService, revision: str, template: Object) -> Object:
    """The ControllerRevision that keeps the pod template as it was rendered first."""
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": metadata(service, revision, labels(service, revision)),
        "revision": 1,
        "data": {"template": template},
    }


def render_deployment(service: ModelService, revision: str, template: Object, replicas: int) -> Object:
    """A pod goes only when its successor is ready: a service with one replica loses no request either."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(service, revision, labels(service, revision)),
        "spec": {
            "replicas": replicas,
            "minReadySeconds": 2,
            "revisionHistoryLimit": 0,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "selector": {"matchLabels": {MODEL_SERVICE_UID: service.metadata.uid, REVISION: revision}},
            "template": template,
        },
    }


def render_service(service: ModelService, name: str, revision: str, template: Object) -> Object:
    """A Service that answers with the pods of one revision, on each port of its server that takes requests."""
    server = next(container for container in template["spec"]["containers"] if container["name"] == SERVER)
    ports = [
        {"name": port["name"], "targetPort": port["name"], **_REQUEST_PORTS[port["name"]]}
        for port in server["ports"]
        if port.get("name") in _REQUEST_PORTS
    ]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(service, name, labels(service, revision)),
        "spec": {
            "selector": {MODEL_SERVICE_UID: service.metadata.uid, REVISION: revision},
            "ports": ports,
        },
    }


def render_budget(service: ModelService, revision: str) -> Object:
    """Evictions take one pod at a time."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(service, revision, labels(service, revision)),
        "spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": {MODEL_SERVICE_UID: service.metadata.uid, REVISION: revision}},
        },
    }


def render_template(service: ModelService, revision: str, artifact: Artifact, settings: Settings) -> Object:
    """The pod template of a revision: the loader verifies and fetches, then the server starts."""
    spec, version = service.spec, artifact.version or "1"
    server = server_of(spec.runtime, Words(service.metadata.name, version, artifact.digest), settings)
    pod = render_pod(service, artifact, server, spec.resources, settings)
    made: Object = {"metadata": {"labels": {}, "annotations": dict(server.annotations)}, "spec": as_written(pod)}
    template: Object = overlay(made, spec.pod_template)
    # Set after the user's overlay: the selectors rest on them.
    template["metadata"]["labels"] |= labels(service, revision)
    return template


def format_in(template: Object) -> str:
    """The format that the loader of such a template fetches, which is the one that its server runs."""
    loader = next(one for one in template["spec"]["initContainers"] if one["name"] == LOADER)
    asked = next(variable["value"] for variable in loader["env"] if variable["name"] == VARIABLE)
    return str(json.loads(asked)["formats"][0])  # of any release: nothing else of it is of interest here


def render_pod(
    service: ModelService, artifact: Artifact, server: Server, resources: Resources, settings: Settings
) -> Object:
    """The spec of a pod in which the loader verifies and fetches, and then the server starts."""
    spec = service.spec
    load = LoadRequest(
        uri=artifact.uri,
        digest=artifact.digest or None,
        formats=(server.format,),
        target=Path(MODEL_DIR),
        storage=None if settings.storage is None else Storage(settings.storage.endpoint, settings.storage.region),
        layout={server.format: server.directory} if server.directory else {},
        progress_port=PROGRESS_PORT,
    )
    loader: Object = {
        "name": LOADER,
        "image": settings.loader_image,
        "imagePullPolicy": settings.image_pull_policy,
        "env": [{"name": VARIABLE, "value": load.as_text()}],
        "ports": [{"name": PROGRESS, "containerPort": PROGRESS_PORT}],
        "volumeMounts": [{"name": "models", "mountPath": "/models"}, {"name": "tmp", "mountPath": "/tmp"}],
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": container_security(),
    }
    if spec.storage is not None:
        loader["envFrom"] = [{"secretRef": {"name": spec.storage.secret_ref.name}}]
    if shared := _loader_resources(resources):
        loader["resources"] = shared
    pod: Object = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": drain_seconds(settings.gateway_throttle) + server.drain_seconds + 5,
        "securityContext": pod_security(),
        "initContainers": [loader],
        "containers": [_container(server, resources, settings)],
        "volumes": [{"name": "models", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}, *server.volumes],
    }
    if settings.image_pull_secrets:
        pod["imagePullSecrets"] = [{"name": name} for name in settings.image_pull_secrets]
    if spec.service_account_name:
        pod["serviceAccountName"] = spec.service_account_name
    return pod


def _loader_resources(server: Resources) -> Object:
    """As the server's, which a quota and a LimitRange have to take too. The loader has ended when the server starts, so
    a pod asks for no more by it. Devices are the server's alone.
    """
    given = server.model_dump(mode="json")
    shared = {kind: {name: value[name] for name in _LOADER_RESOURCES if name in value} for kind, value in given.items()}
    return {kind: value for kind, value in shared.items() if value}


def _container(server: Server, resources: Resources, settings: Settings) -> Object:
    """The server's container, with what every server has."""
    container: Object = {
        **server.container,
        "name": SERVER,
        "image": server.image,
        "imagePullPolicy": settings.image_pull_policy,
        "volumeMounts": [
            {"name": "models", "mountPath": "/models", "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},
            *server.container.get("volumeMounts", ()),
        ],
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": container_security(),
    }
    given = resources.model_dump(mode="json")
    if kept := {kind: value for kind, value in given.items() if value}:
        container["resources"] = kept
    return container
