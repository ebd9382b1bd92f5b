"""What a dataset's content is called: the same bytes under the same names have the same digest, wherever they are from.

Of a file: its sha256. Of a folder: the sha256 of the lines `SHA256  PATH` of its files, sorted by path, as `sha256sum`
prints them. The first 32 digits of it, since MLflow takes no more than 36. Not the store's ETags: they depend on how a
file was uploaded.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from headrace_common.manifest import sha256_of

_DIGITS = 32


def digest(path: Path) -> str:
    """Of a file or a folder. Raises OSError."""
    if not path.is_dir():
        return sha256_of(path)[:_DIGITS]
    whole = hashlib.sha256()
    for name in sorted(os.fsencode(file.relative_to(path)) for file in _files(path)):
        whole.update(f"{sha256_of(path / os.fsdecode(name))}  ".encode() + name + b"\n")
    return whole.hexdigest()[:_DIGITS]


def _files(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder):
        yield from (Path(parent, name) for name in names)
