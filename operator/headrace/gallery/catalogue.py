"""Which examples there are, read from their folders.

They lie beside this package: in a checkout a link to /examples of the repository, in an installed package a copy of
it. Nothing here touches a cluster.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from headrace.kube.resources import CONFIGMAPS, MODELSERVICES, TRAININGJOBS, Object, Resource

FOLDER = (Path(__file__).parents[1] / "examples").resolve()

_KINDS = {resource.kind: resource for resource in (TRAININGJOBS, MODELSERVICES)}
_REQUIREMENTS = "requirements.txt"
# Where the data of the examples lie in their YAML files; a tenant's are in a bucket of its own.
_BUCKET = "s3://demo/"


class UnknownExample(Exception):
    """There is no example of that name; the message has those that there are."""


@dataclass(frozen=True)
class Example:
    """One folder: `jobs` and `services` are the objects of its two YAML files, without a namespace."""

    folder: Path
    title: str
    jobs: tuple[Object, ...]
    services: tuple[Object, ...]

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def client(self) -> Path:
        return self.folder / "client.py"

    def datasets(self, bucket: str) -> tuple[str, ...]:
        """URIs of what has to lie in the bucket before the jobs run."""
        jobs = [_in_bucket(job, bucket) for job in self.jobs]
        return tuple(dataset["uri"] for job in jobs for dataset in job["spec"].get("datasets", []))

    def objects(self, namespace: str, bucket: str) -> tuple[tuple[Resource, Object], ...]:
        """All that is to be applied, in that order: the scripts, what trains, what serves."""
        found = [*self._config_maps(), *(_in_bucket(job, bucket) for job in self.jobs), *self.services]
        return tuple(
            (_KINDS.get(each["kind"], CONFIGMAPS), {**each, "metadata": {**each["metadata"], "namespace": namespace}})
            for each in found
        )

    def _config_maps(self) -> Iterator[Object]:
        scripts: dict[str, set[str]] = {}
        for job in self.jobs:
            scripts.setdefault(job["spec"]["source"]["configMap"]["name"], set()).add(job["spec"]["entrypoint"])
        for name, files in scripts.items():
            if (self.folder / _REQUIREMENTS).is_file():
                files.add(_REQUIREMENTS)
            data = {file: (self.folder / file).read_text(encoding="utf-8") for file in sorted(files)}
            yield {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def _in_bucket(job: Object, bucket: str) -> Object:
    """The job with its data in this bucket; one without data as it is, since a TrainingJob cannot be changed."""
    spec = job["spec"]
    if "datasets" not in spec:
        return job
    moved = [{**each, "uri": each["uri"].replace(_BUCKET, f"s3://{bucket}/", 1)} for each in spec["datasets"]]
    return {**job, "spec": {**spec, "datasets": moved}}


def examples(folder: Path = FOLDER) -> tuple[Example, ...]:
    """All examples, by name."""
    return tuple(_read(entry.parent) for entry in sorted(folder.glob("*/trainingjob.yaml")))


def example(name: str, folder: Path = FOLDER) -> Example:
    """The one of that name; raises UnknownExample."""
    found = {each.name: each for each in examples(folder)}
    if name not in found:
        raise UnknownExample(f"there is no example {name!r}; there are {', '.join(found) or 'none'}")
    return found[name]


def _read(folder: Path) -> Example:
    title = (folder / "README.md").read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
    return Example(folder, title, _objects(folder / "trainingjob.yaml"), _objects(folder / "modelservice.yaml"))


def _objects(path: Path) -> tuple[Any, ...]:
    return tuple(yaml.safe_load_all(path.read_text(encoding="utf-8")))
