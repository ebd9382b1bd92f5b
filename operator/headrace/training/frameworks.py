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
    """One framework's."""

    rendezvous: Rendezvous


FRAMEWORKS: Mapping[Framework, Row] = {
    Framework.KERAS: Row(Rendezvous("tensorflow", 2222)),
    Framework.SCRIPT: Row(Rendezvous("rendezvous", 29500)),  # torchrun's port
}
