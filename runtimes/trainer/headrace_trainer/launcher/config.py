"""HEADRACE_CONFIG as values: the edge where the operator's JSON becomes types, or one sentence that says what is
wrong.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headrace_common import s3
from headrace_common.formats import ModelFormat
from headrace_trainer.launcher.failures import Failed, bad_config

PROTOCOL = 1
_CORRECT_SPEC = "Correct the TrainingJob's spec."
Scalar = bool | int | float | str


@dataclass(frozen=True)
class Job:
    """Which TrainingJob, and which of its attempts (from 1)."""

    namespace: str
    name: str
    uid: str
    attempt: int


@dataclass(frozen=True)
class Workers:
    """The gang. `addresses` has one name a worker, fully qualified with a dot at the end; empty for one worker."""

    count: int = 1
    port: int = 2222
    addresses: tuple[str, ...] = ()
    name_deadline: float = 120.0


@dataclass(frozen=True)
class Dataset:
    """Objects to be downloaded before the script starts: `uri` is one object or a prefix."""

    name: str
    uri: str
    path: Path


@dataclass(frozen=True)
class Storage:
    """The S3 store; an empty endpoint means AWS' own."""

    endpoint: str
    region: str


@dataclass(frozen=True)
class Tracking:
    """The MLflow server and the experiment that the run belongs to."""

    url: str
    experiment: str
    experiment_id: str


@dataclass(frozen=True)
class Checkpoints:
    """Where checkpoints go (one folder an attempt below `uri`), how often in seconds, how many to keep; for how many
    seconds a resume may go through data again.
    """

    uri: str
    interval: float
    keep: int
    replay: float


@dataclass(frozen=True)
class Config:
    """One pod's instructions. `gpus` is how many it has asked for."""

    job: Job
    framework: str
    strategy: str
    gpus: int
    workers: Workers
    source: Path
    entrypoint: str
    parameters: Mapping[str, Scalar]
    datasets: tuple[Dataset, ...]
    storage: Storage | None
    tracking: Tracking | None
    checkpoints: Checkpoints | None
    formats: tuple[str, ...]
    input_example: str
    progress_port: int


class _Reader:
    """One JSON object with the path to it, so that every complaint says where."""

    def __init__(self, data: Any, where: str) -> None:
        if not isinstance(data, dict):
            raise _wrong(where, "an object", data)
        self._data: dict[str, Any] = data
        self._where = where

    def text(self, name: str, default: str | None = None) -> str:
        value = self._data.get(name, default)
        if not isinstance(value, str) or (default is None and not value):
            raise _wrong(f"{self._where}.{name}", "a text that is not empty", value)
        return value

    def integer(self, name: str, least: int, default: int | None = None) -> int:
        value = self._data.get(name, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise _wrong(f"{self._where}.{name}", f"an integer of at least {least}", value)
        return value

    def number(self, name: str, default: float | None = None) -> float:
        value = self._data.get(name, default)
        if not isinstance(value, int | float) or isinstance(value, bool) or value < 0:
            raise _wrong(f"{self._where}.{name}", "a number that is not negative", value)
        return float(value)

    def items(self, name: str) -> list[Any]:
        value = self._data.get(name)
        if value is None:
            return []
        if not isinstance(value, list):
            raise _wrong(f"{self._where}.{name}", "a list", value)
        return value

    def object(self, name: str) -> _Reader:
        return _Reader(self._data.get(name), f"{self._where}.{name}")

    def optional(self, name: str) -> _Reader | None:
        return None if self._data.get(name) is None else self.object(name)

    def mapping(self, name: str) -> dict[str, Any]:
        value = self._data.get(name)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise _wrong(f"{self._where}.{name}", "an object", value)
        return value


def parse_config(text: str) -> Config:
    """The configuration in `text`. Raises Failed (BadConfig) with the place and the fault."""
    try:
        data = json.loads(text)
    except ValueError as error:
        raise Failed(bad_config(f"HEADRACE_CONFIG is not JSON: {error}")) from error
    root = _Reader(data, "HEADRACE_CONFIG")
    protocol = root.integer("protocol", least=0)
    if protocol != PROTOCOL:
        raise Failed(
            bad_config(
                f"the operator speaks protocol {protocol}, this launcher speaks {PROTOCOL}",
                "Use the trainer image that belongs to the operator's release.",
            )
        )
    job, source = root.object("job"), root.object("source")
    config = Config(
        job=Job(job.text("namespace"), job.text("name"), job.text("uid"), job.integer("attempt", least=1)),
        framework=root.text("framework", "Keras"),
        strategy=root.text("strategy", "SingleWorker"),
        gpus=root.integer("gpus", least=0, default=0),
        workers=_workers(root.optional("workers")),
        source=Path(source.text("path")),
        entrypoint=source.text("entrypoint"),
        parameters=_parameters(root.mapping("parameters")),
        datasets=tuple(
            Dataset(item.text("name"), item.text("uri"), Path(item.text("path")))
            for item in (_Reader(d, f"HEADRACE_CONFIG.datasets[{i}]") for i, d in enumerate(root.items("datasets")))
        ),
        storage=_storage(root.optional("storage")),
        tracking=_tracking(root.optional("tracking")),
        checkpoints=_checkpoints(root.optional("checkpoint")),
        formats=_formats(root.optional("output")),
        input_example=_input_example(root.optional("output")),
        progress_port=root.integer("progressPort", least=0, default=9400),
    )
    _check(config)
    return config


def _workers(reader: _Reader | None) -> Workers:
    if reader is None:
        return Workers()
    count = reader.integer("count", least=1, default=1)
    addresses = reader.items("addresses")
    if count > 1 and (len(addresses) != count or not all(isinstance(a, str) and a for a in addresses)):
        raise _wrong("HEADRACE_CONFIG.workers.addresses", f"{count} names, one a worker", addresses)
    return Workers(
        count=count,
        port=reader.integer("port", least=1, default=2222),
        addresses=tuple(addresses) if count > 1 else (),
        name_deadline=reader.number("nameDeadlineSeconds", default=120.0),
    )


def _parameters(data: dict[str, Any]) -> dict[str, Scalar]:
    for name, value in data.items():
        if not isinstance(value, bool | int | float | str):
            raise _wrong(f"HEADRACE_CONFIG.parameters.{name}", "a text, number or boolean", value)
    return data


def _storage(reader: _Reader | None) -> Storage | None:
    return None if reader is None else Storage(reader.text("endpoint", ""), reader.text("region", s3.DEFAULT_REGION))


def _tracking(reader: _Reader | None) -> Tracking | None:
    if reader is None:
        return None
    url = reader.text("url").rstrip("/")
    if not url.startswith(("http://", "https://")):
        raise _wrong("HEADRACE_CONFIG.tracking.url", "an http:// or https:// address", url)
    return Tracking(url, reader.text("experiment", ""), reader.text("experimentId"))


def _checkpoints(reader: _Reader | None) -> Checkpoints | None:
    if reader is None:
        return None
    uri = reader.text("uri").rstrip("/")
    return Checkpoints(
        uri,
        reader.number("intervalSeconds", default=300.0),
        reader.integer("keep", least=1, default=3),
        reader.number("replaySeconds", default=600.0),
    )


def _formats(reader: _Reader | None) -> tuple[str, ...]:
    formats = [] if reader is None else reader.items("formats")
    for value in formats:
        if value not in list(ModelFormat):
            raise _wrong("HEADRACE_CONFIG.output.formats", f"made of {' and '.join(ModelFormat)}", value)
    return tuple(formats)


def _input_example(reader: _Reader | None) -> str:
    value = "Rows" if reader is None else reader.text("inputExample", "Rows")
    if value not in ("Rows", "None"):
        raise _wrong("HEADRACE_CONFIG.output.inputExample", "Rows or None", value)
    return value


def _check(config: Config) -> None:
    """What each part is well-formed for, but cannot be done together."""
    wants_storage = [f"dataset {d.name}" for d in config.datasets]
    wants_storage += ["checkpoint"] if config.checkpoints else []
    wants_storage += ["output"] if config.formats else []
    if wants_storage and config.storage is None:
        raise Failed(
            bad_config(f"{', '.join(wants_storage)}: there is no storage to read from or write to", _CORRECT_SPEC)
        )
    if config.formats and config.tracking is None:
        raise Failed(bad_config("output: a model is kept with its run, and there is no tracking", _CORRECT_SPEC))
    for uri in [d.uri for d in config.datasets] + ([config.checkpoints.uri] if config.checkpoints else []):
        if not s3.is_uri(uri):
            raise Failed(bad_config(f"{uri}: this launcher reads and writes s3://BUCKET/KEY only", _CORRECT_SPEC))


def _wrong(where: str, wanted: str, value: Any) -> Failed:
    shown = "absent" if value is None else json.dumps(value)[:80]
    return Failed(bad_config(f"{where} must be {wanted}; it is {shown}"))
