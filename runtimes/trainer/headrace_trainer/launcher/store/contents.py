"""What a checkpoint's folder has beside its files: an object store has files only.

Folders with nothing in them are told in the manifest, so that they are there again. What else there is cannot be kept,
and is named.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from headrace_common.paths import leaves_its_folder

_KINDS = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISDIR, "a link to a folder"),
)


def empty_folders(folder: Path) -> list[str]:
    """Folders below without a file that is kept, by their paths with slashes."""
    kept = [parent for path in folder.rglob("*") if path.is_file() for parent in path.parents]
    folders = (path for path in folder.rglob("*") if path.is_dir() and not path.is_symlink())
    return sorted(path.relative_to(folder).as_posix() for path in set(folders) - set(kept))


def left_out(folder: Path) -> dict[str, str]:
    """What is neither a folder nor a file, nor a link to a file, by its path: what it is."""
    return dict(sorted((path.relative_to(folder).as_posix(), kind) for path, kind in _others(folder)))


def _others(folder: Path) -> Iterator[tuple[Path, str]]:
    for path in folder.rglob("*"):
        if path.is_file() or (path.is_dir() and not path.is_symlink()):
            continue
        try:
            mode = os.stat(path).st_mode
        except OSError:
            yield path, "a link to nothing"
            continue
        yield path, next((kind for is_so, kind in _KINDS if is_so(mode)), "no file")


def make_folders(root: Path, folders: object) -> None:
    """Those of a manifest, which is the script's word. Raises ValueError for what is no folder below the root."""
    if not isinstance(folders, list):
        raise ValueError("its folders are no folders")
    for folder in folders:
        if not isinstance(folder, str) or leaves_its_folder(folder):
            raise ValueError(f"{folder!r} is no folder of a checkpoint")
        try:
            (root / folder).mkdir(parents=True, exist_ok=True)
        except OSError as error:  # a file has its name
            raise ValueError(f"{folder!r} is no folder of a checkpoint: {error.strerror}") from error
