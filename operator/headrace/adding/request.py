"""The TrainingJob that asks for a version of a given model, and the program that it runs. Pure.

There is no second way into the registry: the job's pod hands the model over, and the operator judges and registers it
as it does with what was trained (docs/decisions/0055-models-of-others.md).
"""

from __future__ import annotations

import hashlib
import re
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
_MOST_MORE_MEMORY = 5 * 1024 * _MIB


@dataclass(frozen=True)
class Origin:
    """Where the job's pod reads the model: an address, the sha256 of a file on the web, and what is known of it."""

    uri: str
    sha256: str = ""
    digest: str = ""  # of the manifest that lies there
    given: str = ""  # what the user has named, for the run
    file: str = ""  # the ONNX file, where its name is known
    format: ModelFormat | None = None
    size: int | None = None  # in bytes; of an address nobody knows it yet

    @property
    def identity(self) -> str:
        """What the same request has again: 64 hex digits."""
        known = self.digest.removeprefix("sha256:")
        return known or hashlib.sha256(f"{self.uri} {self.sha256}".encode()).hexdigest()

    @property
    def parameters(self) -> dict[str, str]:
        """Of the program. They stand in the run, where everybody may read them."""
        named = {"digest": self.digest, "given": without_keys(self.given), "file": self.file}
        return {name: text for name, text in named.items() if text}


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
    memory: str = ""  # that the job's pod may use; empty: by the model's size


def without_keys(address: str) -> str:
    """An address as it may be shown: without a user and password, and without the query that signs it. Others are names
    of files, and stay.
    """
    scheme, separator, rest = address.partition("://")
    if not separator:
        return address
    host, slash, path = re.split("[?#]", rest, maxsplit=1)[0].partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def job_name(wish: Wish, origin: Origin) -> str:
    """The same model under the same name is one request: asked for again it is found, and not made anew."""
    identity = origin.identity
    if len(wish.model) > _NAME_LENGTH:  # two that begin alike are two requests
        identity = hashlib.sha256(f"{wish.model} {identity}".encode()).hexdigest()
    return f"add-{wish.model[:_NAME_LENGTH].rstrip('-')}-{identity[:12]}"


def place_of(bucket: str, wish: Wish, digest: str) -> str:
    """Where files with this manifest lie in the tenant's bucket until they are a version's: a prefix's address. It is
    of one model: another one with the same files is another request, which takes away its own.
    """
    return f"s3://{bucket}/{PREFIX}/{wish.namespace}.{wish.model}/{digest.removeprefix('sha256:')}/"


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
    memory = wish.memory or _memory(origin.size)
    spec: Object = {
        "framework": "Script",
        "source": {"configMap": {"name": name}},
        "entrypoint": _PROGRAM,
        "parameters": origin.parameters,
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


def _memory(size: int | None) -> str:
    """For the files as the kernel keeps them, and for an ONNX graph that is read twice: at most 2 GiB of protobuf. Of
    unknown size it is the most.
    """
    more = _MOST_MORE_MEMORY if size is None else min(2 * size, _MOST_MORE_MEMORY)
    return f"{(_LEAST_MEMORY + more) // _MIB}Mi"
