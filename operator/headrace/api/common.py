"""Parts that both kinds share: storage credentials, resources, the failure record."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from headrace.api.base import Model, Rule, Schema
from headrace.api.scalars import Count, Line, Message, Name, Subdomain, Word

_QUANTITY_PATTERN = r"^[0-9]+(\.[0-9]{1,9})?(Ki|Mi|Gi|Ti|Pi|Ei|m|k|M|G|T|P|E)?$"

Quantity = Annotated[
    int | str,
    Schema(
        **{"x-kubernetes-int-or-string": True},
        maxLength=32,
        rules=(
            Rule(
                f"string(self).matches(r'{_QUANTITY_PATTERN}')",
                "must be a quantity such as 500m, 2 or 4Gi, and not negative",
                pattern=_QUANTITY_PATTERN,
            ),
        ),
    ),
]
"""A Kubernetes quantity, such as 500m, 2, 4Gi."""

_RESOURCE_NAME = "^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[a-z0-9]([-a-z0-9_.]*[a-z0-9])?$"
_RESOURCE_NAMES = Rule(
    f"self.all(name, size(name) <= 128 && name.matches('{_RESOURCE_NAME}'))",
    "a resource is named like cpu, memory, ephemeral-storage or nvidia.com/gpu",
)


class SecretReference(Model):
    """A Secret in the resource's own namespace."""

    name: Annotated[Subdomain, Schema("Name of the Secret.")]


class Storage(Model):
    """Credentials for the object store."""

    secret_ref: Annotated[
        SecretReference,
        Schema(
            "The Secret with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and, for training, "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD) of this namespace, which `headrace tenant add` "
            "writes. For datasets elsewhere also GOOGLE_SERVICE_ACCOUNT_KEY; AZURE_STORAGE_ACCOUNT_NAME, and "
            "AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_KEY."
        ),
    ]


# No container starts in less.
_LEAST_MEMORY = "4Mi"


def memory_of_at_least(least: str) -> str:
    """CEL: what `limits` and `requests` say of memory is enough, or nothing that can be compared."""
    rules = []
    for kind in ("limits", "requests"):
        value = f"string(self.{kind}['memory'])"
        rules.append(
            f"(!has(self.{kind}) || !('memory' in self.{kind}) || !isQuantity({value}) || "
            f"!quantity({value}).isLessThan(quantity('{least}')))"
        )
    return " && ".join(rules)


class Resources(Model):
    """Compute resources of a pod's main container."""

    limits: Annotated[
        dict[str, Quantity],
        Schema(
            'Most that the container may use, such as {cpu: "2", memory: 4Gi, nvidia.com/gpu: "1"}. '
            "GPUs and MIG profiles are asked for here and nowhere else.",
            maxProperties=16,
            rules=(_RESOURCE_NAMES,),
        ),
    ] = Field(default_factory=dict)
    requests: Annotated[
        dict[str, Quantity],
        Schema(
            "What the scheduler sets aside for the container. Where absent, the limit.",
            maxProperties=16,
            rules=(_RESOURCE_NAMES,),
        ),
    ] = Field(default_factory=dict)

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.requests) || !has(self.limits) || self.requests.all(name, !(name in self.limits) || "
            "!isQuantity(string(self.requests[name])) || !isQuantity(string(self.limits[name])) || "
            "!quantity(string(self.requests[name])).isGreaterThan(quantity(string(self.limits[name]))))",
            "a request cannot be larger than the limit of the same resource",
            field_path=".requests",
        ),
        Rule(
            memory_of_at_least(_LEAST_MEMORY),
            f"no container starts in less than {_LEAST_MEMORY} of memory; m is a thousandth of a byte, and a number "
            "alone is bytes: write 512Mi for 512 mebibytes",
        ),
    )


class FailureClass(StrEnum):
    """What kind of failure it was; decides whether another attempt is made and whether it counts."""

    USER_CODE = "UserCode"
    CONFIG = "Config"
    OOM = "OOM"
    KILLED = "Killed"
    DISRUPTED = "Disrupted"
    STORAGE = "Storage"
    TRACKING = "Tracking"
    PEER = "Peer"
    SCHEDULING = "Scheduling"
    IMAGE = "Image"
    DATA = "Data"
    DEADLINE = "Deadline"
    GATE = "Gate"


class Failure(Model):
    """The cause of a failure, read from the pods when it happened."""

    class_: Annotated[FailureClass, Schema("Which kind of failure it was.")]
    reason: Annotated[Word, Schema("The cause as one CamelCase word, more exact than the class.")]
    exit_code: Annotated[
        int | None,
        Schema(
            "Exit code of the script, if it ended with one; otherwise that of the container that failed first.",
            minimum=-255,
            maximum=255,
        ),
    ] = None
    pod: Annotated[Name | None, Schema("The pod that failed first.")] = None
    container: Annotated[Name | None, Schema("The container that failed first.")] = None
    message: Annotated[Message, Schema("What happened.")] = ""
    log_tail: Annotated[Message | None, Schema("The last lines that the container wrote.")] = None
    attempt: Annotated[Count | None, Schema("The attempt that failed, from 1.")] = None
    retryable: Annotated[bool, Schema("Whether another attempt can help.")] = False
    hint: Annotated[Line | None, Schema("What to do about it.")] = None
