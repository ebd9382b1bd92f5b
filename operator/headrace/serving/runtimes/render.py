"""A server of the table for one model: the parts of a revision's pod template that are its own (pure).

What the operator has to know of it later, the place of its counters, is written on its pods as the annotations that
Prometheus installations look for, so that people's own Prometheus finds it too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from headrace.api.modelservice import Runtime
from headrace.kube.resources import Object
from headrace.rollout.propagation import drain_seconds
from headrace.serving.runtimes.choice import RUNTIME_ANNOTATION, batching_arguments, is_unmarked, place_of
from headrace.serving.runtimes.table import DEFAULT_DRAIN_SECONDS, ConfigFile, Probe, ServingRuntime
from headrace.settings import Settings

MODEL_DIR = "/models/current"
METRICS_PORT = 8081

SCRAPE, SCRAPE_PORT, SCRAPE_PATH = "prometheus.io/scrape", "prometheus.io/port", "prometheus.io/path"

_NAME = re.compile(r"\$\((MODEL_DIR|MODEL_NAME|VERSION|DIGEST)\)")


@dataclass(frozen=True)
class Server:
    """One server for one model: parts of its pod template."""

    format: str
    image: str
    container: Object  # without name, image, resources and security
    directory: str = ""  # where the loader puts the format, below MODEL_DIR; empty: its own name
    annotations: Mapping[str, str] = field(default_factory=dict)
    volumes: tuple[Object, ...] = ()
    drain_seconds: int = DEFAULT_DRAIN_SECONDS  # from SIGTERM on


@dataclass(frozen=True)
class Words:
    """What the names in an entry's texts stand for. Nothing else is replaced, and what was put in is not looked at."""

    model_name: str
    version: str
    digest: str = ""

    def put_in(self, text: str) -> str:
        words = {
            "MODEL_DIR": MODEL_DIR,
            "MODEL_NAME": self.model_name,
            "VERSION": self.version,
            "DIGEST": self.digest,
        }
        return _NAME.sub(lambda found: words[found[1]], text)


def server_of(runtime: Runtime, words: Words, settings: Settings) -> Server:
    """Of a runtime that `choice.why_not` has nothing against."""
    entry = settings.runtimes[runtime.name]
    served = entry.format(runtime.format)
    assert served is not None
    return Server(
        format=served.name,
        image=runtime.image or entry.image,
        container=_container(entry, runtime, words, settings),
        directory=words.put_in(served.directory),
        annotations=_annotations(entry, runtime.name, words),
        volumes=tuple(_volume(file) for file in entry.files),
        drain_seconds=entry.drain_seconds,
    )


def model_path(name: str, model: str, settings: Settings) -> str:
    """Where the server of this name has the model in its protocol; of a name that is not in the table: its root."""
    entry = settings.runtimes.get(name)
    return Words(model, "").put_in(entry.path).rstrip("/") if entry is not None else ""


def drain(settings: Settings) -> Object:
    """A pod that is going takes requests until the gateway has let go of it."""
    return {"preStop": {"sleep": {"seconds": drain_seconds(settings.gateway_throttle)}}}


def scraped(port: int, path: str) -> dict[str, str]:
    return {SCRAPE: "true", SCRAPE_PORT: str(port), SCRAPE_PATH: path}


def _container(entry: ServingRuntime, runtime: Runtime, words: Words, settings: Settings) -> Object:
    """The service's own arguments come after the entry's, its variables instead of the entry's."""
    ports = entry.ports.by_name()
    container: Object = {
        "ports": [{"name": name, "containerPort": number} for name, number in ports.items()],
        **{field: _probe(probe, ports, words) for field, probe in entry.probes.by_field().items()},
        "lifecycle": drain(settings),
    }
    if entry.command:
        container["command"] = [words.put_in(text) for text in entry.command]
    if args := (*entry.args, *batching_arguments(entry, runtime.batching).values(), *runtime.args):
        container["args"] = [words.put_in(text) for text in args]
    variables = {one.name: one.value for one in entry.env} | {one.name: one.value for one in runtime.env}
    if variables:
        container["env"] = [{"name": name, "value": words.put_in(value)} for name, value in variables.items()]
    if entry.files:
        container["volumeMounts"] = [
            {"name": file.name, "mountPath": file.path.rpartition("/")[0], "readOnly": True} for file in entry.files
        ]
    return container


def _probe(probe: Probe, ports: Mapping[str, int], words: Words) -> Object:
    found: Object = probe.model_dump(mode="json", by_alias=True, exclude_none=True)
    if probe.http_get is not None:
        found["httpGet"]["path"] = words.put_in(probe.http_get.path)
    if probe.grpc is not None:
        found["grpc"]["port"] = ports[probe.grpc.port]  # the kubelet takes no name there
    return found


def _annotations(entry: ServingRuntime, name: str, words: Words) -> dict[str, str]:
    """A file is an annotation of the pod, so that a revision needs no object more."""
    found = {_annotation(file): words.put_in(file.text) for file in entry.files}
    if not is_unmarked(name, entry.metrics):
        found[RUNTIME_ANNOTATION] = name
    place = place_of(entry)
    return found if place is None else found | scraped(*place)


def _annotation(file: ConfigFile) -> str:
    return f"headrace.dev/{file.name}-config"


def _volume(file: ConfigFile) -> Object:
    source = {"fieldPath": f"metadata.annotations['{_annotation(file)}']"}
    items = [{"path": file.path.rpartition("/")[2], "fieldRef": source}]
    return {"name": file.name, "downwardAPI": {"items": items}}
