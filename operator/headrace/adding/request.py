"""The TrainingJob that asks for a version of a given model, and the program that it runs. Pure.

There is no second way into the registry: the job's pod hands the model over, and the operator judges and registers it
as it does with what was trained (docs/decisions/0055-models-of-others.md).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from headrace.kube.resources import Object
from headrace_common.formats import ModelFormat

LABEL = "headrace.dev/added-model"
DATASET = "model"
PREFIX = "headrace/added"
_PROGRAM = "program.py"
_TEXT = "program.txt"
_NAME_LENGTH = 23
_MIB = 1 << 20
_LEAST_MEMORY = 1024 * _MIB


@dataclass(frozen=True)
class Origin:
    """Where the job's pod reads the model: an address, the sha256 of a file on the web, and what is known of it."""

    uri: str
    sha256: str = ""
    digest: str = ""  # of the manifest that lies there
    given: str = ""  # what the user has named, for the run
    format: ModelFormat | None = None
    size: int = 0

    @property
    def identity(self) -> str:
        """What the same request has again: 64 hex digits."""
        known = self.digest.removeprefix("sha256:")
        return known or hashlib.sha256(f"{self.uri} {self.sha256}".encode()).hexdigest()


@dataclass(frozen=True)
class Wish:
    """What is to become of the model."""

    namespace: str
    model: str
    experiment: str
    alias: str = ""
    needs_approval: bool = False
    evaluate: Mapping[str, Any] = field(default_factory=dict)
    secret: str = ""
    service_account: str = ""


def job_name(wish: Wish, origin: Origin) -> str:
    """The same model under the same name is one request: asked for again it is found, and not made anew."""
    return f"add-{wish.model[:_NAME_LENGTH].rstrip('-')}-{origin.identity[:12]}"


def place_of(bucket: str, digest: str) -> str:
    """Where files with this manifest lie in the tenant's bucket until they are a version's: a prefix's address."""
    return f"s3://{bucket}/{PREFIX}/{digest.removeprefix('sha256:')}/"


def config_map(wish: Wish, origin: Origin, owner_uid: str = "") -> Object:
    """The program. With `owner_uid` it goes when the job goes."""
    name = job_name(wish, origin)
    metadata: Object = {"name": name, "namespace": wish.namespace, "labels": {LABEL: wish.model}}
    if owner_uid:
        owner = {"apiVersion": "headrace.dev/v1alpha1", "kind": "TrainingJob", "name": name, "uid": owner_uid}
        metadata["ownerReferences"] = [owner]
    program = files("headrace.adding").joinpath(_TEXT).read_text(encoding="utf-8")
    return {"metadata": metadata, "data": {_PROGRAM: program}}


def training_job(wish: Wish, origin: Origin) -> Object:
    """The request."""
    name = job_name(wish, origin)
    dataset = {"name": DATASET, "uri": origin.uri} | ({"sha256": origin.sha256} if origin.sha256 else {})
    output: Object = {"model": wish.model}
    if origin.format is not None:
        output["formats"] = [origin.format.value]
    if wish.alias:
        output["alias"] = wish.alias
    if wish.needs_approval:
        output["approval"] = {"required": True}
    memory = _memory(origin.size)
    spec: Object = {
        "framework": "Script",
        "source": {"configMap": {"name": name}},
        "entrypoint": _PROGRAM,
        "parameters": {key: text for key, text in (("digest", origin.digest), ("given", origin.given)) if text},
        "datasets": [dataset],
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": memory}},
        "tracking": {"experiment": wish.experiment},
        "output": output,
        "restartPolicy": {"maxRestarts": 1},
    }
    if wish.secret:
        spec["storage"] = {"secretRef": {"name": wish.secret}}
    if wish.service_account:
        spec["serviceAccountName"] = wish.service_account
    if wish.evaluate:
        spec["evaluate"] = dict(wish.evaluate)
    return {"metadata": {"name": name, "namespace": wish.namespace, "labels": {LABEL: wish.model}}, "spec": spec}


def _memory(size: int) -> str:
    """For the files as the kernel keeps them, and for an ONNX graph that is read twice: at most 2 GiB of protobuf."""
    return f"{(_LEAST_MEMORY + min(2 * size, 5 << 30)) // _MIB}Mi"
