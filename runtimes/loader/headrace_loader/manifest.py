"""The manifest of a model: parsed and checked as what it is, text from outside. No I/O here.

A manifest lists every file with size and sha256; the sha256 of its own bytes is the model's digest
(docs/reference/launcher-protocol.md). Whoever trained the model wrote it, so its paths are not to be trusted.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headrace_loader.failures import LoadError, Reason
from headrace_loader.paths import collision, why_unsafe

NAME = "manifest.json"
SIGNATURE = "signature.json"
MAX_BYTES = 4 * 1024 * 1024
MAX_FILES = 10_000

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class ManifestFile:
    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    files: tuple[ManifestFile, ...]
    formats: Mapping[str, str]


@dataclass(frozen=True)
class PlannedFile:
    """A file of the model and where it goes, relative to the target folder."""

    source: ManifestFile
    destination: str


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def parse(content: bytes) -> Manifest:
    """The manifest in `content`. Raises LoadError(ManifestInvalid)."""
    try:
        value = json.loads(content, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise _invalid(f"is not JSON: {error}") from error
    if not isinstance(value, dict) or value.get("protocol") != 1:
        raise _invalid("is not of protocol 1")
    entries = value.get("files")
    if not isinstance(entries, list) or not 0 < len(entries) <= MAX_FILES:
        raise _invalid(f"does not list between 1 and {MAX_FILES} files")
    files = tuple(_file(entry) for entry in entries)
    duplicate = collision([file.path for file in files])
    if duplicate is not None:
        raise _invalid(f"lists {duplicate!r} twice, or as a file and a folder")
    return Manifest(files=files, formats=_formats(value.get("formats")))


def plan(manifest: Manifest, formats: tuple[str, ...], layout: Mapping[str, str]) -> tuple[PlannedFile, ...]:
    """The files to fetch for `formats`, and the signature, each with its destination.

    Raises LoadError when a format is not in the model or the layout puts two files in one place.
    """
    planned: list[PlannedFile] = []
    for name in formats:
        folder = manifest.formats.get(name)
        if folder is None:
            available = ", ".join(sorted(manifest.formats)) or "none"
            raise LoadError(
                Reason.FORMAT_NOT_FOUND,
                f"The model has no format {name}; it has {available}.",
                f"If output.formats of the TrainingJob has {name}, its condition FormatsExported says why the export"
                f" failed; else add {name} there in a new TrainingJob. Or choose a runtime that serves {available}.",
            )
        inside = [file for file in manifest.files if file.path.startswith(f"{folder}/")]
        if not inside:
            raise _invalid(f"says that {name} lies in {folder!r}, and lists no file there")
        planned += [PlannedFile(file, layout.get(name, folder) + file.path.removeprefix(folder)) for file in inside]
    planned += [PlannedFile(file, SIGNATURE) for file in manifest.files if file.path == SIGNATURE]
    duplicate = collision([file.destination for file in planned] + [NAME])
    if duplicate is not None:
        raise LoadError(
            Reason.BAD_CONFIG,
            f"The layout puts two files at {duplicate!r}.",
            "Give each format a folder of its own in `layout`.",
        )
    return tuple(planned)


def _invalid(problem: str) -> LoadError:
    return LoadError(
        Reason.MANIFEST_INVALID,
        f"{NAME} {problem}.",
        "Export the model again; a manifest is written by the launcher and never by hand.",
    )


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key occurs twice in one object")
    return value


def _file(entry: Any) -> ManifestFile:
    if not isinstance(entry, dict):
        raise _invalid("has an entry in files that is not an object")
    path, size, sha256 = entry.get("path"), entry.get("size"), entry.get("sha256")
    if not isinstance(path, str):
        raise _invalid("has a file without a path")
    problem = why_unsafe(path)
    if problem or path == NAME:
        raise _invalid(f"has the path {path!r}, which {problem or 'is the manifest itself'}")
    if isinstance(size, bool) or not isinstance(size, int) or size < 0:
        raise _invalid(f"has no valid size for {path!r}")
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        raise _invalid(f"has no valid sha256 for {path!r}")
    return ManifestFile(path=path, size=size, sha256=sha256)


def _formats(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise _invalid("has no formats")
    for name, folder in value.items():
        problem = why_unsafe(folder) if isinstance(folder, str) else "is not a text"
        if problem:
            raise _invalid(f"has a folder for {name!r} that {problem}")
    return value
