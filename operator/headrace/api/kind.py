"""What the API server is told about a kind besides its schema: names, columns, subresources."""

from __future__ import annotations

from dataclasses import dataclass

from headrace.api.base import Rule

GROUP = "headrace.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"


@dataclass(frozen=True)
class Column:
    """A column of `kubectl get`; a wide one is shown with `-o wide` only."""

    name: str
    json_path: str
    type: str = "string"
    wide: bool = False


@dataclass(frozen=True)
class Scale:
    """Paths of the scale subresource."""

    spec_replicas: str
    status_replicas: str
    selector: str


@dataclass(frozen=True)
class Kind:
    """A custom resource's names and its faces towards kubectl."""

    kind: str
    plural: str
    short_names: tuple[str, ...]
    columns: tuple[Column, ...]
    selectable: tuple[str, ...] = ()
    scale: Scale | None = None

    @property
    def crd_name(self) -> str:
        return f"{self.plural}.{GROUP}"


def dns_name(length: int) -> Rule:
    """Names of Services and pods are made from the resource's name, so it has to be short and begin with a letter."""
    return Rule(
        f"size(self.metadata.name) <= {length} && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
        f"metadata.name must be at most {length} lower-case letters, digits and dashes, beginning with a letter",
    )
