"""Manifests: which files a folder in S3 has, with their sha256 sums. Written last, so that what has one is complete.

The sha256 of a model's manifest is the model's digest (docs/reference/launcher-protocol.md). Whoever trained the model
wrote it, so what it says is not to be trusted.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headrace_common.paths import collision, leaves_its_folder

NAME = "manifest.json"
PROTOCOL = 1
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Invalid(ValueError):
    """It is no manifest, or not to be followed. The text goes on after the manifest's name: `is not JSON: …`."""


@dataclass(frozen=True)
class File:
    """A file below the folder; `path` with slashes, `size` in bytes."""

    path: str
    sha256: str
    size: int


def files_below(folder: Path) -> tuple[File, ...]:
    """All files below a local folder, sorted by path."""
    paths = sorted((p.relative_to(folder).as_posix(), p) for p in folder.rglob("*") if p.is_file())
    return tuple(File(name, sha256_of(path), path.stat().st_size) for name, path in paths)


def sha256_of(path: Path) -> str:
    """The hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of(content: bytes) -> str:
    """The digest of the model whose manifest this is."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def digest_below(folder: Path) -> str:
    """The digest of the model that was loaded into `folder`; empty where there is no manifest."""
    manifest = folder / NAME
    return digest_of(manifest.read_bytes()) if manifest.is_file() else ""


def encode(files: tuple[File, ...], fields: Mapping[str, Any]) -> bytes:
    """The manifest's bytes: sorted keys, no white space, no newline at the end, the same in every process."""
    listed = [{"path": f.path, "sha256": f.sha256, "size": f.size} for f in files]
    text = json.dumps(
        {**fields, "files": listed, "protocol": PROTOCOL}, sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )
    return text.encode()


def decode(content: bytes) -> tuple[tuple[File, ...], dict[str, Any]]:
    """Files and the other fields. Raises Invalid, also where a path leads outside of the folder. Which names a file may
    have beyond that is for who writes it to say.
    """
    try:
        value = json.loads(content, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise Invalid(f"is not JSON: {error}") from error
    if not isinstance(value, dict) or value.pop("protocol", None) != PROTOCOL:
        raise Invalid(f"is not of protocol {PROTOCOL}")
    entries = value.pop("files", None)
    if not isinstance(entries, list):
        raise Invalid("lists no files")
    files = tuple(_file(entry) for entry in entries)
    if (duplicate := collision([file.path for file in files])) is not None:
        raise Invalid(f"lists {duplicate!r} twice, or as a file and a folder")
    return files, value


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key occurs twice in one object")
    return value


def _file(entry: Any) -> File:
    if not isinstance(entry, dict):
        raise Invalid("has an entry in files that is not an object")
    path, size, sha256 = entry.get("path"), entry.get("size"), entry.get("sha256")
    if not isinstance(path, str):
        raise Invalid("has a file without a path")
    if leaves_its_folder(path):
        raise Invalid(f"has the path {path!r}, which leads outside of its folder")
    if isinstance(size, bool) or not isinstance(size, int) or size < 0:
        raise Invalid(f"has no valid size for {path!r}")
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        raise Invalid(f"has no valid sha256 for {path!r}")
    return File(path, sha256, size)
