"""The installed packages, kept with the job's checkpoints: `URI/attempt-N/packages-KEY.tar.gz`. A later attempt unpacks
them, and needs no index.

KEY says for which lock, Python and kind of machine they are. A copy that cannot be written or read is told in the log
and costs nothing else: the packages are then installed from the index, as in the first attempt.
"""

from __future__ import annotations

import gzip
import hashlib
import platform
import shutil
import sys
import tarfile
import zlib
from pathlib import Path, PurePosixPath

from headrace_common.protocol.config import Checkpoints
from headrace_common.s3 import Place
from headrace_trainer.launcher.failures.judge import Failed
from headrace_trainer.launcher.log import log
from headrace_trainer.launcher.packages.lock import last_attempt_with
from headrace_trainer.launcher.store.s3 import NotFound, Patience, Store

# Of the packages as they are installed: while a copy is made, the pod's disk holds both. What is larger belongs into an
# image.
MAX_BYTES = 512 * 1024**2
# The store may be away: the index is there instead.
_NO_PATIENCE = Patience(0.0)


class PackageCopy:
    """One job's copies, as one attempt sees them."""

    def __init__(self, settings: Checkpoints, attempt: int, store: Store) -> None:
        self._root = Place.parse(settings.uri)
        self._attempt = attempt
        self._store = store

    def fetch(self, lock: str, folder: Path, work: Path) -> bool:
        """What an attempt before this one has kept into `folder`, which is not there yet; whether there was a copy."""
        if self._attempt == 1:
            return False
        file = work / "packages.tar.gz"
        try:
            earlier = last_attempt_with(_name(lock), self._root, self._attempt, self._store, _NO_PATIENCE)
            if earlier is None:
                return False
            self._store.download(self._place(earlier, lock), file, _NO_PATIENCE)
            with gzip.open(file) as stream:
                with tarfile.open(fileobj=stream, mode="r|") as archive:
                    for member in archive:
                        _unpack(archive, member, folder)
                while stream.read(1024**2):
                    pass  # to its checksum
        except (Failed, NotFound, OSError, EOFError, tarfile.TarError, zlib.error) as error:
            log(f"the copy of the packages cannot be used: {error}")
            shutil.rmtree(folder, ignore_errors=True)
            return False
        finally:
            file.unlink(missing_ok=True)
        log(f"the packages are those that attempt {earlier} had installed")
        return True

    def keep(self, lock: str, folder: Path, work: Path) -> None:
        """The chief's: for the attempts to come."""
        if (size := _size(folder)) > MAX_BYTES:
            log(f"the packages are not kept for later attempts: they have {size / 1024**2:.0f} MiB")
            return
        file = work / "packages.tar.gz"
        try:
            with tarfile.open(file, "w:gz", compresslevel=1) as archive:
                archive.add(folder, arcname=".")
            self._store.upload(file, self._place(self._attempt, lock), _NO_PATIENCE)
        except (Failed, OSError) as error:
            log(f"the packages are not kept for later attempts: {error}")
        finally:
            file.unlink(missing_ok=True)

    def _place(self, attempt: int, lock: str) -> Place:
        return self._root.below(f"attempt-{attempt}/{_name(lock)}")


def _unpack(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    """A file or folder, into `folder` and nowhere else. (tarfile's own filters are not in every Python 3.11.)"""
    parts = PurePosixPath(member.name).parts
    if member.name.startswith("/") or ".." in parts or not (member.isfile() or member.isdir()):
        raise tarfile.TarError(f"{member.name!r} does not belong into it")
    target = folder.joinpath(*parts)
    if member.isdir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if (data := archive.extractfile(member)) is not None:
        with data, target.open("wb") as file:
            shutil.copyfileobj(data, file)
    target.chmod(member.mode & 0o777 | 0o600)


def _name(lock: str) -> str:
    """Of what is installed by this lock here."""
    here = f"{sys.implementation.cache_tag}-{platform.machine()}"
    return f"packages-{hashlib.sha256(lock.encode()).hexdigest()[:16]}-{here}.tar.gz"


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*"))
