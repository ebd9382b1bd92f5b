"""Datasets that lie in a volume of the pod: nothing is copied, the script finds a link.

What such a dataset is, its files' sizes and times say: to read them all, as a digest does, would take as long as to
copy them. A script sees all that is in the volume, so a file that was added since is a change, too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from headrace_common.protocol.config import VOLUME, Dataset
from headrace_trainer.launcher.datasets.objects import (
    Object,
    address_below,
    changed,
    digest_of_objects,
    forbidden,
    not_found,
)
from headrace_trainer.launcher.failures.judge import Failed
from headrace_trainer.launcher.log import log

_OF_THE_FILE_SYSTEM = "lost+found"  # in the root of many, and root's alone
_HINT = (
    "The pod's user has to be able to read it: look at the files' owner and mode, and at podTemplate's securityContext."
)

_LINK = "Name the file or folder that it leads to in persistentVolumeClaim.path, or copy it into the volume."


class Mounted:
    """A volume, as a place that datasets come from."""

    def __init__(self, mount: Path) -> None:
        self._mount = mount

    def objects(self, dataset: Dataset) -> Sequence[Object]:
        """All files, in the order of their paths. Links are followed to files; one to a folder is told as itself."""
        if not self._mount.exists():
            raise Failed(not_found(dataset, "the volume has no such path"))
        if not self._mount.resolve().is_relative_to(_root_of(dataset, self._mount).resolve()):
            raise Failed(forbidden(dataset, f"{dataset.uri} is a link that leads out of the volume", _LINK))
        try:
            found = sorted(self._files())
        except OSError as error:
            raise Failed(forbidden(dataset, f"{self._told(dataset, error)}", _HINT)) from error
        if not found:
            raise Failed(not_found(dataset, "there is no file in it"))
        return tuple(
            Object(address_below(dataset, path), path, stat.st_size, str(stat.st_mtime_ns)) for path, stat in found
        )

    def fetch(self, dataset: Dataset, one: Object, target: Path) -> None:
        raise RuntimeError("what is mounted is not fetched")

    def read(self, dataset: Dataset, one: Object, begin: int, end: int) -> bytes:
        raise RuntimeError("what is mounted is not streamed")

    def _told(self, dataset: Dataset, error: OSError) -> str:
        """With the address of what it is of: where the volume is mounted is not what a user has written."""
        path = Path(str(error.filename))
        is_below = path != self._mount and path.is_relative_to(self._mount)
        address = address_below(dataset, path.relative_to(self._mount).as_posix() if is_below else "")
        return f"{address}: {error.strerror or error}"

    def _files(self) -> Iterator[tuple[str, os.stat_result]]:
        if not self._mount.is_dir():
            yield "", self._mount.stat()
            return
        for parent, folders, names in os.walk(self._mount, onerror=_raise):
            if _OF_THE_FILE_SYSTEM in folders and Path(parent) == self._mount:
                folders.remove(_OF_THE_FILE_SYSTEM)
            links = [name for name in folders if Path(parent, name).is_symlink()]
            for path in (Path(parent, name) for name in (*names, *links)):
                stat = path.stat() if path.is_file() else path.lstat()
                yield path.relative_to(self._mount).as_posix(), stat


def _root_of(dataset: Dataset, mount: Path) -> Path:
    """Where the volume is mounted: the address has what is below it."""
    below = dataset.uri.removeprefix(VOLUME).partition("/")[2] if dataset.uri.startswith(VOLUME) else ""
    depth = len(PurePosixPath(below).parts)
    return mount.parents[depth - 1] if depth else mount


def attach(dataset: Dataset, mount: Path, first: Sequence[Object] | None) -> str:
    """The script finds it at the dataset's path; the digest of what its files are, 64 digits. Raises Failed
    (DatasetChanged) where they are not those that were there `first`.
    """
    now = Mounted(mount).objects(dataset)
    _check_unchanged(dataset, now if first is None else first, now)
    log(f"dataset {dataset.name}: {len(now)} file(s), {sum(one.size for one in now) / 1e6:.1f} MB, mounted")
    dataset.path.parent.mkdir(parents=True, exist_ok=True)
    dataset.path.unlink(missing_ok=True)
    dataset.path.symlink_to(mount)
    return digest_of_objects(now)


def _check_unchanged(dataset: Dataset, first: Sequence[Object], now: Sequence[Object]) -> None:
    before, after = ({one.path: one for one in objects} for objects in (first, now))
    for path in sorted(before.keys() | after.keys()):
        old, new = before.get(path), after.get(path)
        if old is not None and new is None:
            raise Failed(changed(dataset, old, "is gone"))
        if new is not None and new != old:
            raise Failed(changed(dataset, new, "was added" if old is None else "was written anew"))


def _raise(error: OSError) -> None:
    raise error
