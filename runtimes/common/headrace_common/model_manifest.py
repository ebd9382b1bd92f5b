"""The manifest of a model, as who loads it follows it: bounded, with names that any volume can have. No I/O here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headrace_common import manifest
from headrace_common.formats import SIGNATURE
from headrace_common.manifest import NAME, File, Invalid
from headrace_common.paths import why_unsafe

MAX_BYTES = 4 * 1024 * 1024
MAX_FILES = 10_000
# Of these, what files that are no format's may take: MLmodel, what it needs, an example.
OTHER_BYTES = 4096
OTHER_FILES = 100


@dataclass(frozen=True)
class ModelManifest:
    """`formats` has the folder of each format."""

    files: tuple[File, ...]
    formats: Mapping[str, str]

    def of_format(self, name: str) -> tuple[File, ...]:
        """The files of a format that there is, and the signature, which all of them share."""
        folder = f"{self.formats[name]}/"
        return tuple(file for file in self.files if file.path.startswith(folder) or file.path == SIGNATURE)


def parse(content: bytes) -> ModelManifest:
    """The manifest in `content`. Raises Invalid."""
    files, fields = manifest.decode(content)
    if not 0 < len(files) <= MAX_FILES:
        raise Invalid(f"does not list between 1 and {MAX_FILES} files")
    for file in files:
        problem = "is the manifest itself" if file.path == NAME else why_unsafe(file.path)
        if problem:
            raise Invalid(f"has the path {file.path!r}, which {problem}")
    return ModelManifest(files, _formats(fields.get("formats")))


def _formats(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise Invalid("has no formats")
    for name, folder in value.items():
        problem = why_unsafe(folder) if isinstance(folder, str) else "is not a text"
        if problem:
            raise Invalid(f"has a folder for {name!r} that {problem}")
    return value
