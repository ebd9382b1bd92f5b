"""What the operator has to know of a framework, a row each; the pod's side of it is the launcher's `frameworks`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from headrace.api.trainingjob import Framework


@dataclass(frozen=True)
class Rendezvous:
    """Where the workers of a gang meet: a port of each pod's, by its name and number."""

    name: str
    port: int


@dataclass(frozen=True)
class Row:
    """`rendezvous` is None where a framework forms no gang."""

    rendezvous: Rendezvous | None


FRAMEWORKS: Mapping[Framework, Row] = {
    Framework.KERAS: Row(Rendezvous("tensorflow", 2222)),
    Framework.SCRIPT: Row(None),
}
