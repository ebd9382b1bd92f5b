"""What the script of a stage of preparation has left in its folder, as a dataset: files under names that a key can be.

An object store has files only: empty folders are no part of a dataset. A link would make of a dataset what the pod
happens to have, so it is refused, and so is whatever else is no file.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from headrace_common.manifest import File, sha256_of
from headrace_common.paths import why_unsafe
from headrace_common.protocol.reasons import Reason
from headrace_common.s3 import Place
from headrace_trainer.launcher.datasets.objects import MAX_NAME_BYTES, has_long_part
from headrace_trainer.launcher.failures.judge import Failed, Failure
from headrace_trainer.launcher.store.digests import PREFIX, digest_of
from headrace_trainer.launcher.store.names import can_be_key, shown

_NAMED = 5
_KINDS = (
    (stat.S_ISLNK, "is a link"),
    (stat.S_ISFIFO, "is a pipe"),
    (stat.S_ISSOCK, "is a socket"),
)
_HOW = (
    "The script leaves its files in the folder that HEADRACE_DATASET_DIR names, or headrace_client.dataset_folder(): "
    "files and folders alone, under names that are UTF-8. Correct it in a new TrainingJob."
)


@dataclass(frozen=True)
class Contents:
    """All files of a folder, sorted by path; `digest` is `sha256:…`. `stamps` tell by path whether a file was written
    since.
    """

    files: tuple[File, ...]
    digest: str
    stamps: Mapping[str, tuple[int, ...]]

    @property
    def size(self) -> int:
        """In bytes."""
        return sum(file.size for file in self.files)


def read(folder: Path, place: Place) -> Contents:
    """The folder that is to lie at `place`. Raises Failed (NoDataset) where there is no file in it, or what is none."""
    if folder.is_symlink():
        raise Failed(no_dataset("the folder itself was replaced by a link"))
    try:
        found = dict(sorted(_entries(folder)))
        faults = {path: fault for path, mode in found.items() if (fault := _fault(path, mode, place)) is not None}
        if faults:
            raise Failed(no_dataset(told(faults)))
        if not found:
            raise Failed(no_dataset("the script ended with exit code 0, and left no file to be its dataset"))
        stamps = {path: _stamp(folder / path) for path in found}
        files = tuple(File(path, sha256_of(folder / path), stamps[path][0]) for path in found)
    except OSError as error:
        raise Failed(cannot_be_read(error)) from error
    return Contents(files, digest_of_files(files), stamps)


def digest_of_files(files: Iterable[File]) -> str:
    """That of a dataset with these files, `sha256:…`."""
    return PREFIX + digest_of({os.fsencode(file.path): file.sha256 for file in files})


def check_unchanged(folder: Path, contents: Contents) -> None:
    """Raises Failed (NoDataset) where a file is not what it was when it was read."""
    for path, stamp in contents.stamps.items():
        try:
            is_same = _stamp(folder / path) == stamp
        except OSError:
            is_same = False
        if not is_same:
            raise Failed(
                no_dataset(
                    f"{shown(path)} was written, or taken away, after the script had ended",
                    "A process that the script has started goes on writing: let the script wait for its end.",
                )
            )


def cannot_be_read(error: OSError) -> Failure:
    """The folder, or a file in it."""
    return no_dataset(f"what the script left cannot be read: {error}")


def no_dataset(message: str, hint: str = _HOW) -> Failure:
    """What the script left is none."""
    return Failure(Reason.NO_DATASET, message, hint)


def _entries(folder: Path, below: str = "") -> Iterator[tuple[str, int]]:
    """All that is no folder, by its path, with its mode. Links are not followed."""
    with os.scandir(folder) as entries:
        for entry in entries:
            path = f"{below}{entry.name}"
            mode = entry.stat(follow_symlinks=False).st_mode
            if stat.S_ISDIR(mode):
                yield from _entries(Path(entry.path), f"{path}/")
            else:
                yield path, mode


def _fault(path: str, mode: int, place: Place) -> str | None:
    if not stat.S_ISREG(mode):
        return next((kind for is_so, kind in _KINDS if is_so(mode)), "is no file")
    return fault_of_path(path, place)


def fault_of_path(path: str, place: Place) -> str | None:
    """Why a file of this name cannot lie at `place`, or not be fetched from there."""
    if (why := why_unsafe(path)) is not None:
        return why
    if not can_be_key(place.below(path).key):
        return "has too long a path"
    if has_long_part(path):
        return f"has a part longer than {MAX_NAME_BYTES} bytes"
    return None


def told(faults: Mapping[str, str]) -> str:
    """By their names, of which the first are said."""
    named = ", ".join(f"{shown(path)} {fault}" for path, fault in list(faults.items())[:_NAMED])
    more = f", and {len(faults) - _NAMED} more" if len(faults) > _NAMED else ""
    return f"what the script left cannot be a dataset: {named}{more}"


def _stamp(path: Path) -> tuple[int, ...]:
    now = path.stat(follow_symlinks=False)
    return now.st_size, now.st_mtime_ns, now.st_ino
