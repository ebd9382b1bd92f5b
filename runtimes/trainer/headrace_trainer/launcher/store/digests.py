"""What a dataset's content is called: the same bytes under the same names have the same digest, wherever they are from.

Of a file: its sha256. Of a folder: the sha256 of the lines `SHA256  PATH` of its files, sorted by path, as `sha256sum`
prints them. MLflow is told the first 32 digits of it, since it takes no more than 36. Not the store's ETags: they
depend on how a file was uploaded.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from headrace_common.manifest import sha256_of

PREFIX = "sha256:"
_DIGITS = 32


def digest(path: Path) -> str:
    """Of a file or a folder, 64 digits. Raises OSError."""
    if not path.is_dir():
        return sha256_of(path)
    return digest_of({os.fsencode(file.relative_to(path)): sha256_of(file) for file in _files(path)})


def digest_of(sums: Mapping[bytes, str]) -> str:
    """Of a folder, by the sums of its files."""
    whole = hashlib.sha256()
    for name, sha256 in sorted(sums.items()):
        whole.update(f"{sha256}  ".encode() + name + b"\n")
    return whole.hexdigest()


def shortened(digest: str) -> str:
    """As much of it as MLflow takes."""
    return digest[:_DIGITS]


def _files(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder):
        yield from (Path(parent, name) for name in names)
