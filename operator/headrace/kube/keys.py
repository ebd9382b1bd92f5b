"""From any watched object to the key of the resource that has to be looked at. Pure."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from headrace.kube.resources import Object, Resource


class Key(NamedTuple):
    """One TrainingJob or ModelService."""

    resource: Resource
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.resource.kind} {self.namespace}/{self.name}"


ParentOf: TypeAlias = Callable[[Resource, Object], Key | None]


def parent_of(primaries: Mapping[Resource, str], others: Mapping[str, Resource] = MappingProxyType({})) -> ParentOf:
    """A function from an object to its key: itself, its controller, or the one that its label names.

    `primaries` gives each reconciled kind the label by which objects further down (the pods of its Job) name it,
    `others` more such labels.
    """
    by_kind = {(primary.group, primary.kind): primary for primary in primaries}
    by_label = {label: primary for primary, label in primaries.items()} | dict(others)

    def parent(resource: Resource, obj: Object) -> Key | None:
        metadata = obj["metadata"]
        namespace = metadata.get("namespace", "")
        if resource in primaries:
            return Key(resource, namespace, metadata["name"])
        for reference in metadata.get("ownerReferences", ()):
            group = reference["apiVersion"].rpartition("/")[0]
            primary = by_kind.get((group, reference["kind"]))
            if primary is not None and reference.get("controller"):
                return Key(primary, namespace, reference["name"])
        labels = metadata.get("labels") or {}
        for label, primary in by_label.items():
            if label in labels:
                return Key(primary, namespace, labels[label])
        return None

    return parent
