"""The paths of the REST API: which model is asked for, and for what. No I/O here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from urllib.parse import unquote

from headrace_tensorflow_serving.codes import Code
from headrace_tensorflow_serving.failures import CodedError
from headrace_tensorflow_serving.versions import HIGHEST

_PATH = re.compile(
    r"/v1/models/(?P<model>[^/:]+)(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?"
    r"(?P<resource>|/metadata|:predict)"
)


class Resource(Enum):
    """What a path ends in."""

    STATUS = ""
    METADATA = "/metadata"
    PREDICT = ":predict"

    @property
    def methods(self) -> tuple[str, ...]:
        return ("POST",) if self is Resource.PREDICT else ("GET", "HEAD")


@dataclass(frozen=True)
class Target:
    """`version` is None where the latest is asked for."""

    model: str
    version: int | None
    resource: Resource


def parse(path: str) -> Target:
    """The target of `path`, as it stands in the request line, without a query. Raises CodedError."""
    match = _PATH.fullmatch(path)
    if match is None:
        raise CodedError(Code.NOT_FOUND, "there is nothing at this path")
    if match["label"] is not None:
        raise CodedError(Code.INVALID_ARGUMENT, "versions have no labels here: ask for a number, or for the latest")
    version = match["version"]
    if version is not None and (len(version) > 19 or int(version) > HIGHEST):
        raise CodedError(Code.INVALID_ARGUMENT, "Failed to convert version to numeric.")
    return Target(
        model=unquote(match["model"]),
        version=None if version is None else int(version),
        resource=Resource(match["resource"]),
    )
