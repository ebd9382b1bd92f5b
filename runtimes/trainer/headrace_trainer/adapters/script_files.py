"""The script's own files: what it has written below its working directory goes with each checkpoint, and is there
again when the training goes on (the best model of a ModelCheckpoint, a CSVLogger's table, a vocabulary).

They are copied between two steps, in the thread that trains: so what this thread has written and flushed is in the
checkpoint as it was at that moment. What another thread or process is writing just then may be caught half way. A
file that has not changed since it was copied is not copied again.

A file counts as the script's when it was not there, or was another one, when the process began. Links, and what is
over the bounds, are left out; that is said once, by name. In a checkpoint the copies have numbers for names: no path
of the script's is ever a path in the store.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

MOST_BYTES = 1 << 30
MOST_FILES = 500
# What is looked at to find them.
_MOST_ENTRIES = 20_000
_NAMED = 5
# A file system's clock may stand still for some milliseconds: a younger file may be changed without being older.
_SETTLED_NS = 1_000_000_000
_NOT_CARRIED = frozenset({".headrace", "__pycache__"})


@dataclass(frozen=True)
class ScriptFile:
    """A file in a checkpoint: its `path` below the working directory, and the name of its `copy`."""

    path: str
    copy: str
    mode: int
    modified_ns: int

    def __post_init__(self) -> None:
        parts = self.path.split("/")
        if not all(parts) or {".", ".."} & set(parts) or "\0" in self.path or not self.copy.isdecimal():
            raise ValueError(f"a checkpoint names the file {self.path!r}")


# Whether a file is still the one that was looked at.
_Stamp = tuple[int, int, int]


@dataclass(frozen=True)
class _Copied:
    stamp: _Stamp
    is_settled: bool
    file: ScriptFile


# tf.data's cache(path) while it is filled: it refuses to go on beside what another process has begun.
_CACHE_LOCK = re.compile(r"(_[0-9]+)?\.lockfile$")


class ScriptFiles:
    """The files below `root` without the folders `ours`; copies are made in `store`, which is emptied.
    Without one none are made, and what comes with a checkpoint is put back all the same.
    """

    def __init__(self, root: Path, ours: Sequence[Path], store: Path | None, warn: Callable[[str], None]) -> None:
        self._root = root.resolve()
        self._ours = {path.resolve() for path in ours}
        self._store = store
        self._warn = warn
        self._told: set[str] = set()
        self._copies_made = 0
        self._copied: dict[str, _Copied] = {}
        self._source: Path | None = None
        self._carried: tuple[ScriptFile, ...] = ()
        self.times_put_back = 0
        self._put: dict[str, _Stamp] = {}
        # What it prints is in the pod's log.
        self._printed = {
            _identity(os.stat(f"/proc/self/fd/{n}")) for n in (1, 2) if os.path.exists(f"/proc/self/fd/{n}")
        }
        if store is not None:
            shutil.rmtree(store, ignore_errors=True)
        self._given = {} if store is None else {path: _stamp(found) for path, found in self._found()}

    def capture(self, forget_older: bool) -> tuple[ScriptFile, ...]:
        """Copies the files as they are now. `forget_older` says that no earlier capture is still to be written.
        Raises OSError where a copy cannot be made.
        """
        if self._store is None:
            return ()
        if not self._store.is_dir():
            self._store.mkdir(parents=True)
        if forget_older:
            self._remove_copies()
        first = self._copies_made
        try:
            self._copied = self._copy_all()
        except OSError:
            # A disk that is full must not stay so.
            for number in range(first, self._copies_made):
                (self._store / _name(number)).unlink(missing_ok=True)
            raise
        return tuple(one.file for one in self._copied.values())

    def copy_of(self, file: ScriptFile) -> Path:
        """Where the copy of a captured file lies, until a later capture."""
        assert self._store is not None
        return self._store / file.copy

    @property
    def root(self) -> Path:
        """What it is below."""
        return self._root

    def carries(self, path: str) -> bool:
        """Whether the checkpoint that is gone on from has such a file."""
        return any(file.path == path for file in self._carried)

    def go_on_from(self, source: Path, files: tuple[ScriptFile, ...]) -> None:
        """The copies in `source` are put back whenever `put_back` is called: where training goes on, and not before. A
        script that makes a folder at its start finds none there, as it did the first time.
        """
        self._source, self._carried = source, files
        for file in files:
            self._given.pop(file.path, None)

    def put_back(self) -> None:
        """Every file of the checkpoint as it was; other files stay."""
        if self._source is None:
            return
        self.times_put_back += 1
        for file in self._carried:
            try:
                self._put_back(self._source / file.copy, file)
            except OSError as error:
                self._tell({file.path: f"could not be put back: {error.strerror}"})

    def _chosen(self) -> Iterator[tuple[str, os.stat_result]]:
        """What is carried: of the script's files the newest, as many as the bounds allow."""
        own = [(path, found) for path, found in self._found() if self._given.get(path) != _stamp(found)]
        half_written = tuple(_CACHE_LOCK.sub("", path) for path, _ in own if _CACHE_LOCK.search(path))
        own = [one for one in own if not half_written or not one[0].startswith(half_written)]
        own.sort(key=lambda one: one[1].st_mtime_ns, reverse=True)
        left_out, count, size = {}, 0, 0
        for path, found in own:
            if not stat.S_ISREG(found.st_mode):
                left_out[path] = "is a link"
            elif count == MOST_FILES:
                left_out[path] = f"would be more than {MOST_FILES} files"
            elif size + found.st_size > MOST_BYTES:
                left_out[path] = f"would be more than {MOST_BYTES >> 20} MiB together"
            else:
                count, size = count + 1, size + found.st_size
                yield path, found
        self._tell(left_out)

    def _found(self) -> Iterator[tuple[str, os.stat_result]]:
        """All files and links below the root, those near it first."""
        folders, looked_at = [""], 0
        for folder in folders:
            try:
                entries = sorted(os.scandir(self._root / folder), key=lambda entry: entry.name)
            except OSError as error:
                self._tell({folder: f"cannot be looked into: {error.strerror}"})
                continue
            for entry in entries:
                looked_at += 1
                if looked_at > _MOST_ENTRIES:
                    self._tell({f"what comes after {folder}/{entry.name}": f"is more than {_MOST_ENTRIES} entries"})
                    return
                path = f"{folder}/{entry.name}" if folder else entry.name
                if entry.is_dir(follow_symlinks=False):
                    if entry.name not in _NOT_CARRIED and self._root / path not in self._ours:
                        folders.append(path)
                elif entry.is_symlink() or entry.is_file(follow_symlinks=False):
                    try:
                        found = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue  # it has just been taken away
                    if _identity(found) not in self._printed:
                        yield path, found

    def _copy_all(self) -> dict[str, _Copied]:
        copied: dict[str, _Copied] = {}
        for path, found in self._chosen():
            known = self._copied.get(path)
            if known is None or not known.is_settled or known.stamp != _stamp(found):
                known = self._copy(path)
            if known is not None:
                copied[path] = known
        return copied

    def _copy(self, path: str) -> _Copied | None:
        """None, and a warning, where the file cannot be read."""
        try:
            descriptor = os.open(self._root / path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._tell({path: f"cannot be read: {error.strerror}"})
            return None
        with os.fdopen(descriptor, "rb") as source:
            found = os.fstat(descriptor)
            file = ScriptFile(path, _name(self._copies_made), stat.S_IMODE(found.st_mode), found.st_mtime_ns)
            self._copies_made += 1
            with self.copy_of(file).open("xb") as copy:
                _pour(source, copy, found.st_size)
        return _Copied(_stamp(found), time.time_ns() - found.st_mtime_ns > _SETTLED_NS, file)

    def _remove_copies(self) -> None:
        assert self._store is not None
        wanted = {one.file.copy for one in self._copied.values()}
        for copy in self._store.iterdir():
            if copy.name not in wanted:
                copy.unlink()

    def _put_back(self, source: Path, file: ScriptFile) -> None:
        target = self._root / file.path
        known = self._put.get(file.path)
        if known is not None and os.path.lexists(target) and _stamp(target.lstat()) == known:
            return
        folder = self._root
        for part in file.path.split("/")[:-1]:
            folder = folder / part
            if folder.is_symlink():
                raise OSError(None, f"{folder.relative_to(self._root)} is a link")
            folder.mkdir(exist_ok=True)
        if target.is_file() and not target.is_symlink() and os.access(target, os.W_OK):
            # In place: whoever holds it open goes on in it.
            with source.open("rb") as old, target.open("r+b") as now:
                shutil.copyfileobj(old, now)
                now.truncate()
            _go_to_the_end(target)
        else:
            partial = target.with_name(f".{file.copy}.headrace")
            shutil.copyfile(source, partial)
            partial.replace(target)
        os.chmod(target, file.mode)
        os.utime(target, ns=(file.modified_ns, file.modified_ns))
        self._put[file.path] = _stamp(target.lstat())

    def _tell(self, problems: dict[str, str]) -> None:
        new = {path: why for path, why in problems.items() if path not in self._told}
        if not new:
            return
        self._told |= new.keys()
        named = "; ".join(f"{path} {why}" for path, why in list(new.items())[:_NAMED])
        more = f"; and {len(new) - _NAMED} more" if len(new) > _NAMED else ""
        text = f"what the script wrote and will not find again after a resume: {named}{more}"
        # A name may be of bytes that are no text.
        self._warn(text.encode(errors="backslashreplace").decode())


def _stamp(found: os.stat_result) -> _Stamp:
    return (found.st_ino, found.st_size, found.st_mtime_ns)


def _name(number: int) -> str:
    return f"{number:06d}"


def _identity(found: os.stat_result) -> tuple[int, int]:
    return (found.st_dev, found.st_ino)


def _pour(source: BinaryIO, target: BinaryIO, size: int) -> None:
    """At most `size` bytes: a file that grows meanwhile has no end."""
    while size > 0 and (data := source.read(min(size, 1 << 20))):
        target.write(data)
        size -= len(data)


def _go_to_the_end(path: Path) -> None:
    """What this process holds open to write to the file goes on at its end."""
    wanted = path.stat()
    for name in os.listdir("/proc/self/fd"):
        descriptor = int(name)
        try:
            found = os.fstat(descriptor)
            access = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE
        except OSError:
            continue  # the listing's own descriptor
        if _identity(found) == _identity(wanted) and access != os.O_RDONLY:
            os.lseek(descriptor, 0, os.SEEK_END)
