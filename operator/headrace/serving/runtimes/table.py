"""An entry of `servingRuntimes` in the chart's values: a server, as an administrator describes it.

In `command`, `args`, `env`, `files`, `path`, probes' paths and formats' directories `$(MODEL_DIR)`, `$(MODEL_NAME)`,
`$(VERSION)` and `$(DIGEST)` stand for what the service has; everything else arrives as it is written.

The schema of the chart's values is generated from these models (`scripts/generate`), and the operator reads the values
with them at its start.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Annotated, NamedTuple, Self

from pydantic import AfterValidator, Field, JsonValue, TypeAdapter, ValidationError, model_validator

from headrace.rollout.adapter import PodMetrics
from headrace.values import Values
from headrace_common.paths import why_unsafe

PORTS = ("http", "grpc", "metrics")
DEFAULT_DRAIN_SECONDS = 25
# The files are annotations of a pod, of which Kubernetes takes 256 KiB together.
MAX_FILES_BYTES = 200 * 1024
POD_VOLUMES = ("models", "tmp")
_SYSTEM = "/bin /dev /lib /lib64 /models /proc /run/secrets /sbin /sys /tmp /usr /var/run/secrets"
FOLDERS = tuple(PurePosixPath(one) for one in _SYSTEM.split())
OPEN_FOLDERS = (PurePosixPath("/etc"),)  # what lies below has a folder of its own

RuntimeName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
FormatName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9]*$", max_length=40)]
PortNumber = Annotated[int, Field(ge=1, le=65535)]
PortName = Annotated[str, Field(pattern=f"^({'|'.join(PORTS)})$")]
UrlPath = Annotated[str, Field(pattern=r"^/\S*$", max_length=256)]
Seconds = Annotated[int, Field(ge=0, le=3600)]


def _safe(directory: str) -> str:
    """As the loader would say it in each pod."""
    if directory and (problem := why_unsafe(directory)):
        raise ValueError(f"{problem}: {directory!r}")
    return directory


class RuntimesError(Exception):
    """There is no table; the message says what there is instead."""


class ServedFormat(Values):
    """A format that the server takes."""

    name: Annotated[FormatName, Field(description="As the model's manifest has it: ONNX, TensorFlow, ...")]
    directory: Annotated[
        str,
        Field(
            description="Where its files go below $(MODEL_DIR), such as tensorflow/$(VERSION). Empty: to the folder "
            "that they have in the model.",
            pattern=r"^([^/\s]+(/[^/\s]+)*)?$",
            max_length=256,
        ),
        AfterValidator(_safe),
    ] = ""


class Variable(Values):
    """A variable of the environment."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]*$", max_length=253)]
    value: Annotated[str, Field(max_length=16384)] = ""


class Ports(Values):
    """The ports that the server listens on, by protocol."""

    http: Annotated[
        PortNumber, Field(description="What a route's requests are sent to. Clients in the cluster use 8080.")
    ]
    grpc: Annotated[PortNumber | None, Field(description="Clients in the cluster use 8500.")] = None
    metrics: Annotated[PortNumber | None, Field(description="Where it is not the port of http.")] = None

    def by_name(self) -> dict[str, int]:
        """Those that there are."""
        return {name: number for name in PORTS if (number := getattr(self, name)) is not None}


class HttpGet(Values):
    path: UrlPath
    port: PortName = "http"


class TcpSocket(Values):
    port: PortName = "http"


class Grpc(Values):
    port: PortName = "grpc"
    service: Annotated[str, Field(max_length=253)] = ""


class Probe(Values):
    """A probe of the kubelet's: exactly one of httpGet, tcpSocket and grpc (grpc.health.v1)."""

    http_get: HttpGet | None = None
    tcp_socket: TcpSocket | None = None
    grpc: Grpc | None = None
    initial_delay_seconds: Seconds | None = None
    period_seconds: Annotated[Seconds | None, Field(ge=1)] = None
    timeout_seconds: Annotated[Seconds | None, Field(ge=1)] = None
    failure_threshold: Annotated[int | None, Field(ge=1, le=3600)] = None

    @model_validator(mode="after")
    def _one_question(self) -> Self:
        if [self.http_get, self.tcp_socket, self.grpc].count(None) != 2:
            raise ValueError("a probe has exactly one of httpGet, tcpSocket and grpc")
        return self

    @property
    def port(self) -> str:
        asked = self.http_get or self.tcp_socket or self.grpc
        assert asked is not None
        return asked.port


class Probes(Values):
    readiness: Annotated[Probe, Field(description="Whether the model answers: a pod gets no request before.")]
    liveness: Annotated[Probe | None, Field(description="Where it fails the server is started anew.")] = None
    startup: Annotated[Probe | None, Field(description="Until it succeeds liveness is not asked.")] = None

    def by_field(self) -> dict[str, Probe]:
        """Those that there are, by the field of a container."""
        found = {"startupProbe": self.startup, "readinessProbe": self.readiness, "livenessProbe": self.liveness}
        return {field: probe for field, probe in found.items() if probe is not None}


def _is_no_volume_of_the_pod(name: str) -> str:
    if name in POD_VOLUMES:
        raise ValueError(f"{name} is the name of a volume that each pod has: choose another one")
    return name


def _is_of_its_own(path: str) -> str:
    """The file's folder is mounted, and hides what the image, the kubelet or the loader has there."""
    folder = PurePosixPath(path).parent
    if {".", ".."} & set(path.split("/")):
        raise ValueError(f"{path} has . or .. in it")
    if folder in OPEN_FOLDERS or any(folder.is_relative_to(one) or one.is_relative_to(folder) for one in FOLDERS):
        raise ValueError(f"a file in {folder} would hide what is there: choose a folder such as /etc/NAME")
    return path


class ConfigFile(Values):
    """A small file for the server, read-only."""

    name: Annotated[
        str,
        Field(description="Not models or tmp.", pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=40),
        AfterValidator(_is_no_volume_of_the_pod),
    ]
    path: Annotated[
        str,
        Field(
            description="Its folder is the file's alone, such as /etc/NAME: not of the model, /tmp or the system.",
            pattern=r"^(/[A-Za-z0-9_.-]+){2,}$",
        ),
        AfterValidator(_is_of_its_own),
    ]
    text: Annotated[str, Field(description="All together 200 KiB at most.", max_length=65536)]


class BatchingArguments(Values):
    """How the server is told what spec.runtime.batching says: an argument for each field that it has a way for."""

    max_size: Annotated[
        str, Field(description="$(MAX_SIZE) stands for the rows, such as --max-batch=$(MAX_SIZE).", max_length=256)
    ] = ""
    max_delay: Annotated[
        str, Field(description="$(MAX_DELAY_SECONDS) stands for the seconds, such as 0.002.", max_length=256)
    ] = ""


class ServingRuntime(Values):
    """A server that a ModelService may name as its runtime."""

    formats: Annotated[
        tuple[ServedFormat, ...],
        Field(description="What it takes; the first where runtime.format names none.", min_length=1, max_length=8),
    ]
    image: Annotated[
        str,
        Field(
            description="Empty: images.NAME of the release's own servers; of others runtime.image has to name one.",
            pattern=r"^\S*$",
            max_length=512,
        ),
    ] = ""
    command: Annotated[tuple[str, ...], Field(description="Instead of the image's entrypoint.", max_length=64)] = ()
    args: Annotated[tuple[str, ...], Field(max_length=128)] = ()
    env: Annotated[tuple[Variable, ...], Field(max_length=64)] = ()
    batching: Annotated[
        BatchingArguments, Field(description="Arguments by which it is told how requests are computed together.")
    ] = BatchingArguments()
    files: Annotated[tuple[ConfigFile, ...], Field(max_length=8)] = ()
    ports: Ports
    path: Annotated[UrlPath, Field(description="Of the model in the server's protocol, for status.url.")] = "/"
    probes: Probes
    drain_seconds: Annotated[
        Seconds,
        Field(description="What the server gets after SIGTERM to answer the requests that it has."),
    ] = DEFAULT_DRAIN_SECONDS
    metrics: Annotated[
        PodMetrics | None,
        Field(description="How its counters are read. Absent: the gateway's alone judge a canary, without latencies."),
    ] = None

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        there = self.ports.by_name()
        for field, probe in self.probes.by_field().items():
            if probe.port not in there:
                raise ValueError(f"{field} asks port {probe.port}, which is not in ports")
        if self.metrics is not None and self.metrics.port not in there:
            raise ValueError(f"metrics.port is {self.metrics.port}, which is not in ports")
        if len(set(there.values())) != len(there):
            raise ValueError("ports has a number twice: leave metrics out where it is the port of http")
        for what, names in (
            ("formats", [one.name for one in self.formats]),
            ("env", [one.name for one in self.env]),
            ("files", [one.name for one in self.files]),
        ):
            if len(set(names)) != len(names):
                raise ValueError(f"{what} has a name twice")
        folders = [one.path.rpartition("/")[0] for one in self.files]
        if len(set(folders)) != len(folders):
            raise ValueError("files has two in one folder: each needs a folder of its own")
        if sum(len(one.text.encode()) for one in self.files) > MAX_FILES_BYTES:
            raise ValueError("files has more than 200 KiB of text: put what is large into the image")
        return self

    def format(self, asked: str | None) -> ServedFormat | None:
        """The one that is asked for, or the first; None: it is not taken."""
        return next((one for one in self.formats if asked in (None, one.name)), None)


Runtimes = Mapping[str, ServingRuntime]
_NAME: TypeAdapter[str] = TypeAdapter(RuntimeName)
_TABLE: TypeAdapter[dict[str, JsonValue]] = TypeAdapter(dict[str, JsonValue])


class Table(NamedTuple):
    """What was read: the servers that can be used, and why others cannot, by name."""

    runtimes: Runtimes
    refused: Mapping[str, str]


def parse_runtimes(text: str | bytes) -> Table:
    """The table, from JSON; an entry that cannot be used costs no other one. Raises RuntimesError: it is no table."""
    try:
        entries = _TABLE.validate_json(text)
    except ValidationError as error:
        raise RuntimesError(_told("servingRuntimes", error)) from error
    runtimes, refused = {}, {}
    for name, entry in entries.items():
        try:
            runtimes[_NAME.validate_python(name)] = ServingRuntime.model_validate_json(json.dumps(entry))
        except ValidationError as error:
            refused[name] = _told(f"servingRuntimes.{name}", error)
    return Table(runtimes, refused)


def _told(where: str, error: ValidationError) -> str:
    """The first fault with its place, without what was written there."""
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join((where, *(str(part) for part in first['loc'])))}: {first['msg']}"
