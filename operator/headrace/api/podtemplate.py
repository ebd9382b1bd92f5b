"""The pod template overlay: free-form, with typed islands for what is refused.

The whole PodTemplateSpec in a CRD is 350 kB. CEL does not see into free-form objects, so exactly the fields that have a
rule are declared, and every declared object lets all other fields through. What CRDs cannot check (that no undeclared
field changes, that the author may create pods) is left to the chart's ValidatingAdmissionPolicy.
"""

from __future__ import annotations

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


_CONTAINER_SECURITY = _island(
    "Security settings of the container.",
    {
        "privileged": _refused_flag("Refused when true.", "a training container cannot be privileged"),
        "allowPrivilegeEscalation": _refused_flag(
            "Refused when true.", "a training container cannot gain privileges: leave allowPrivilegeEscalation out"
        ),
        "procMount": {
            "description": "Refused unless Default.",
            "type": "string",
            "maxLength": 32,
            "x-kubernetes-validations": [Rule("self == 'Default'", "only procMount Default is allowed").as_schema()],
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
                        Rule("size(self) == 0", "a training container cannot add capabilities").as_schema()
                    ],
                }
            },
        ),
    },
)

_PORT = {
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
                Rule("self == 0", "a training pod cannot take a port of its node").as_schema()
            ],
        }
    },
}


def _containers(description: str) -> dict[str, Any]:
    ports = {
        "description": "Ports of the container.",
        "type": "array",
        "maxItems": 32,
        "items": _PORT,
        "x-kubernetes-list-type": "atomic",
    }
    return _named_list(description, _island("A container.", {"securityContext": _CONTAINER_SECURITY, "ports": ports}))


_VOLUMES = _named_list(
    "Volumes of the pod, merged by name.",
    _island(
        "A volume.",
        {"hostPath": {"description": "Refused."} | _OPEN},
        **{
            "x-kubernetes-validations": [
                _absent(
                    "hostPath",
                    "a training pod cannot mount a folder of its node: use a PersistentVolumeClaim or datasets",
                )
            ]
        },
    ),
)

_SPEC = _island(
    "Fields of a PodSpec.",
    {
        "hostNetwork": _refused_flag("Refused when true.", "a training pod cannot use its node's network"),
        "hostPID": _refused_flag("Refused when true.", "a training pod cannot see its node's processes"),
        "hostIPC": _refused_flag("Refused when true.", "a training pod cannot use its node's IPC"),
        "nodeName": {"description": "Refused.", "type": "string", "maxLength": 253},
        "serviceAccountName": {"description": "Refused.", "type": "string", "maxLength": 253},
        "serviceAccount": {"description": "Refused.", "type": "string", "maxLength": 253},
        "restartPolicy": {"description": "Refused.", "type": "string", "maxLength": 32},
        "volumes": _VOLUMES,
        "containers": _containers("Containers, merged by name. The training container is called trainer."),
        "initContainers": _containers("Init containers, merged by name."),
    },
    **{
        "x-kubernetes-validations": [
            _absent("nodeName", "a pod with a nodeName goes past the scheduler: use nodeSelector or affinity"),
            _absent("serviceAccountName", "use spec.serviceAccountName"),
            _absent("serviceAccount", "use spec.serviceAccountName"),
            _absent("restartPolicy", "use spec.restartPolicy"),
        ]
    },
)

POD_TEMPLATE = Schema(**_OPEN, properties={"spec": _SPEC})

PodTemplate = Annotated[dict[str, Any], POD_TEMPLATE]
