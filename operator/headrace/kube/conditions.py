"""Conditions of a status as a map by type, after the Kubernetes API conventions. Pure."""

from collections.abc import Iterable
from typing import Literal, TypeAlias

from headrace.kube.resources import Object, Objects

ConditionStatus: TypeAlias = Literal["True", "False", "Unknown"]


def find_condition(conditions: Iterable[Object], type: str) -> Object | None:
    return next((condition for condition in conditions if condition["type"] == type), None)


def set_condition(
    conditions: Iterable[Object],
    type: str,
    status: ConditionStatus,
    reason: str,
    message: str,
    generation: int,
    now: str,
) -> Objects:
    """The conditions with this one set; `conditions` is left as it is.

    `now` is an RFC 3339 time; lastTransitionTime takes it only when `status` changes. The order of the list is kept,
    so that an unchanged condition makes an unchanged status.
    """
    before = list(conditions)
    old = find_condition(before, type)
    new = {
        "type": type,
        "status": status,
        "observedGeneration": generation,
        "lastTransitionTime": old["lastTransitionTime"] if old and old["status"] == status else now,
        "reason": reason,
        "message": message,
    }
    if old is None:
        return [*before, new]
    return [new if condition["type"] == type else condition for condition in before]
