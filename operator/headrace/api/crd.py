"""CustomResourceDefinitions, made from the models."""

from __future__ import annotations

from typing import Any, get_type_hints

from headrace.api.base import Model
from headrace.api.kind import GROUP, VERSION, Column, Kind
from headrace.api.structural import description_of, explained, type_schema

_API_VERSION_FIELD = {"description": f"{GROUP}/{VERSION}.", "type": "string", "maxLength": 64}
_KIND_FIELD = {"description": "The kind of this object.", "type": "string", "maxLength": 63}


def kind_of(model: type[Model]) -> Kind:
    """A root model's names and columns."""
    kind = getattr(model, "KIND", None)
    if not isinstance(kind, Kind):
        raise TypeError(f"{model.__name__} is no resource: it has no KIND")
    return kind


def root_schema(model: type[Model]) -> dict[str, Any]:
    """The schema of a whole resource. Metadata is Kubernetes' own; status is never required."""
    hints = get_type_hints(model, include_extras=True)
    schema: dict[str, Any] = {
        "description": description_of(model),
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": _API_VERSION_FIELD,
            "kind": _KIND_FIELD,
            "metadata": {"type": "object"},
            "spec": explained(type_schema(hints["spec"])),
            "status": type_schema(hints["status"]),
        },
    }
    if model.cel:
        schema["x-kubernetes-validations"] = [rule.as_schema() for rule in model.cel]
    return schema


def custom_resource_definition(model: type[Model]) -> dict[str, Any]:
    """The CRD of a root model."""
    kind = kind_of(model)
    version: dict[str, Any] = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": root_schema(model)},
        "subresources": _subresources(kind),
        "additionalPrinterColumns": [_printer_column(column) for column in kind.columns],
    }
    if kind.selectable:
        version["selectableFields"] = [{"jsonPath": path} for path in kind.selectable]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": kind.crd_name},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind.kind,
                "listKind": f"{kind.kind}List",
                "plural": kind.plural,
                "singular": kind.kind.lower(),
                "shortNames": list(kind.short_names),
                "categories": ["headrace"],
            },
            "versions": [version],
        },
    }


def _subresources(kind: Kind) -> dict[str, Any]:
    if kind.scale is None:
        return {"status": {}}
    scale = {
        "specReplicasPath": kind.scale.spec_replicas,
        "statusReplicasPath": kind.scale.status_replicas,
        "labelSelectorPath": kind.scale.selector,
    }
    return {"status": {}, "scale": scale}


def _printer_column(column: Column) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": column.name, "type": column.type, "jsonPath": column.json_path}
    return entry | ({"priority": 1} if column.wide else {})
