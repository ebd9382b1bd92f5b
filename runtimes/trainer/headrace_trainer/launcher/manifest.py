"""Manifests: which files a folder in S3 has, with their sha256 sums. Written last, so that what has one is complete."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NAME = "manifest.json"


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


def encode(files: tuple[File, ...], fields: Mapping[str, Any]) -> bytes:
    """The manifest's bytes: sorted keys, no white space, no newline at the end, the same in every process."""
    listed = [{"path": f.path, "sha256": f.sha256, "size": f.size} for f in files]
    text = json.dumps(
        {**fields, "files": listed, "protocol": 1}, sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )
    return text.encode()


def decode(data: bytes) -> tuple[tuple[File, ...], dict[str, Any]]:
    """Files and the other fields. Raises ValueError where it is no manifest, or names a path outside its folder."""
    try:
        fields = json.loads(data)
        files = tuple(File(str(f["path"]), str(f["sha256"]), int(f["size"])) for f in fields.pop("files"))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a manifest: {error!r}") from error
    for file in files:
        if file.path.startswith("/") or ".." in file.path.split("/"):
            raise ValueError(f"a manifest names {file.path!r}")
    return files, fields
