"""The pod template overlay: free-form, with typed islands for what is refused.

The whole PodTemplateSpec in a CRD is 350 kB. CEL does not see into free-form objects, so exactly the fields that have a
rule are declared, and every declared object lets all other fields through. What CRDs cannot check (that no undeclared
field changes, that the author may create pods) is left to the chart's ValidatingAdmissionPolicy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from headrace.api.base import Rule, Schema, list_map

_OPEN: dict[str, Any] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def _island(description: str, properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"description": description} | _OPEN | {"properties": properties} | more


def _refused_flag(description: str, message: str) -> dict[str, Any]:
    return {
        "description": description,
        "type": "boolean",
        "x-kubernetes-validations": [Rule("!self", message).as_schema()],
    }


def _absent(field: str, message: str) -> dict[str, str]:
    return Rule(f"!has(self.{field})", message, field_path=f".{field}").as_schema()


def _named_list(description: str, item: dict[str, Any]) -> dict[str, Any]:
    name = {"name": {"description": "Name, unique in the list.", "type": "string", "maxLength": 63}}
    item = item | {"properties": name | item["properties"], "required": ["name"]}
    return {"description": description, "type": "array", "maxItems": 32, "items": item} | list_map("name")


def _container_security(what: str) -> dict[str, Any]:
    return _island(
        "Security settings of the container.",
        {
            "privileged": _refused_flag("Refused when true.", f"a {what} container cannot be privileged"),
            "allowPrivilegeEscalation": _refused_flag(
                "Refused when true.", f"a {what} container cannot gain privileges: leave allowPrivilegeEscalation out"
            ),
            "procMount": {
                "description": "Refused unless Default.",
                "type": "string",
                "maxLength": 32,
                "x-kubernetes-validations": [
                    Rule("self == 'Default'", "only procMount Default is allowed").as_schema()
                ],
            },
            "capabilities": _island(
                "Linux capabilities.",
                {
                    "add": {
                        "description": "Refused unless empty.",
                        "type": "array",
                        "maxItems": 64,
                        "items": {"description": "A capability.", "type": "string", "maxLength": 64},
                        "x-kubernetes-list-type": "atomic",
                        "x-kubernetes-validations": [
                            Rule("size(self) == 0", f"a {what} container cannot add capabilities").as_schema()
                        ],
                    }
                },
            ),
        },
    )


def _port(what: str) -> dict[str, Any]:
    return {
        "type": "object",
        "description": "A port.",
        "x-kubernetes-preserve-unknown-fields": True,
        "properties": {
            "hostPort": {
                "description": "Refused unless 0.",
                "type": "integer",
                "format": "int32",
                "minimum": 0,
                "maximum": 65535,
                "x-kubernetes-validations": [
                    Rule("self == 0", f"a {what} pod cannot take a port of its node").as_schema()
                ],
            }
        },
    }


def _containers(what: str, description: str) -> dict[str, Any]:
    ports = {
        "description": "Ports of the container.",
        "type": "array",
        "maxItems": 32,
        "items": _port(what),
        "x-kubernetes-list-type": "atomic",
    }
    return _named_list(
        description, _island("A container.", {"securityContext": _container_security(what), "ports": ports})
    )


def _volumes(what: str, instead: str) -> dict[str, Any]:
    return _named_list(
        "Volumes of the pod, merged by name.",
        _island(
            "A volume.",
            {"hostPath": {"description": "Refused."} | _OPEN},
            **{
                "x-kubernetes-validations": [
                    _absent(
                        "hostPath",
                        f"a {what} pod cannot mount a folder of its node: use {instead}",
                    )
                ]
            },
        ),
    )


_REFUSED_SECONDS = {
    "terminationGracePeriodSeconds": {"description": "Refused.", "type": "integer", "format": "int64", "minimum": 0},
}


def _spec(what: str, containers: str, instead: str, refused: Mapping[str, str]) -> dict[str, Any]:
    return _island(
        "Fields of a PodSpec.",
        {
            "hostNetwork": _refused_flag("Refused when true.", f"a {what} pod cannot use its node's network"),
            "hostPID": _refused_flag("Refused when true.", f"a {what} pod cannot see its node's processes"),
            "hostIPC": _refused_flag("Refused when true.", f"a {what} pod cannot use its node's IPC"),
            "nodeName": {"description": "Refused.", "type": "string", "maxLength": 253},
            "serviceAccountName": {"description": "Refused.", "type": "string", "maxLength": 253},
            "serviceAccount": {"description": "Refused.", "type": "string", "maxLength": 253},
            "restartPolicy": {"description": "Refused.", "type": "string", "maxLength": 32},
            **{field: _REFUSED_SECONDS[field] for field in refused if field in _REFUSED_SECONDS},
            "volumes": _volumes(what, instead),
            "containers": _containers(what, f"Containers, merged by name. {containers}"),
            "initContainers": _containers(what, "Init containers, merged by name."),
        },
        **{
            "x-kubernetes-validations": [
                _absent("nodeName", "a pod with a nodeName goes past the scheduler: use nodeSelector or affinity"),
                *(_absent(field, message) for field, message in refused.items()),
            ]
        },
    )


_TEXTS = {
    "description": "Texts by name.",
    "type": "object",
    "maxProperties": 64,
    "additionalProperties": {"description": "A text.", "type": "string", "maxLength": 16384},
}


def _template(what: str, containers: str, instead: str, refused: Mapping[str, str]) -> Schema:
    metadata = _island("Labels and annotations of the pod.", {"labels": _TEXTS, "annotations": _TEXTS})
    return Schema(**_OPEN, properties={"metadata": metadata, "spec": _spec(what, containers, instead, refused)})


_ACCOUNT = {"serviceAccountName": "use spec.serviceAccountName", "serviceAccount": "use spec.serviceAccountName"}

TrainingPodTemplate = Annotated[
    dict[str, Any],
    _template(
        "training",
        "The training container is called trainer.",
        "a PersistentVolumeClaim or datasets",
        _ACCOUNT
        | {
            "restartPolicy": "use spec.restartPolicy",
            "terminationGracePeriodSeconds": "use spec.checkpoint.gracePeriod",
        },
    ),
]
ServingPodTemplate = Annotated[
    dict[str, Any],
    _template(
        "serving",
        "The server is called server; the init container that fetches the model is called loader.",
        "a PersistentVolumeClaim",
        _ACCOUNT | {"restartPolicy": "serving pods are always started again: leave restartPolicy out"},
    ),
]
