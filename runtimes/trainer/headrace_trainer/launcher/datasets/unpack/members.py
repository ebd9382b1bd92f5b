"""What is in a packed file, read from its start to its end: never more of it in memory than a piece.

A tar may be compressed as well, by gzip or zstd. Links, devices and whatever else is no file or folder are refused: a
link would make of a dataset what the pod happens to have. So are names that lead out of the folder.
"""

from __future__ import annotations

import errno
import gzip
import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from headrace_common.paths import why_unsafe
from headrace_trainer.launcher.datasets.unpack.forms import Form

PIECE_BYTES = 1 << 20
_MOST_OF_HEADERS = 4 << 20  # of a tar: names and attributes of one file, which take some times as much memory
_END_OF_TAR = bytes(512)
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
# As each library says that a file is broken, cut off, encrypted, or packed in a way that it does not know.
_BROKEN = (
    gzip.BadGzipFile,
    zlib.error,
    lzma.LZMAError,
    tarfile.TarError,
    zipfile.BadZipFile,
    struct.error,
    EOFError,
    ValueError,
    RuntimeError,
    OverflowError,
)
# Not of the disk: what is packed by bzip2 and broken has no number, and a place before the file's start is invalid.
_OF_THE_CONTENT = (None, errno.EINVAL)
_FOLDER_FORMAT, _ENCRYPTED = 0xF000, 0x1


class Unreadable(Exception):
    """What is there is not packed as it is said to be, or has in it what no dataset has."""


@dataclass(frozen=True)
class Member:
    """A file: `path` is below the packed file's own, empty for the only one. Its pieces are read before the next."""

    path: str
    pieces: Iterator[bytes]


Members = Generator[Member, None, None]


class _Readable(Protocol):
    """A file, as far as it is needed."""

    def read(self, size: int = -1, /) -> bytes: ...


def members_of(packed: Path, form: Form, has_read: Callable[[int], None]) -> Members:
    """`has_read` is told how many bytes are read of a tar, uncompressed: not all of them are in a piece. Raises
    Unreadable, also while pieces are read; OSError of the disk; what `has_read` raises.
    """
    if not packed.stat().st_size:
        raise Unreadable("it is empty")
    return _tar(packed, has_read) if form is Form.TAR else _READERS[form](packed)


def _gzip(packed: Path) -> Members:
    with gzip.open(packed) as file:
        yield Member("", _pieces(file))


def _zstd(packed: Path) -> Members:
    with packed.open("rb") as stored:
        yield Member("", _pieces(_Zstd(stored)))


def _tar(packed: Path, has_read: Callable[[int], None]) -> Members:
    with ExitStack() as open_files:
        stored = open_files.enter_context(packed.open("rb"))
        with _told():
            content = _Forwards(_uncompressed(stored), has_read)
            with content.headers():  # it reads those of the first file
                archive = open_files.enter_context(tarfile.TarFile(fileobj=content))  # type: ignore[arg-type]
        while (entry := _next(archive, content)) is not None:
            if entry.isdir():
                continue
            if not entry.isreg():
                raise Unreadable(f"{entry.name!r} in it is {'a link' if entry.islnk() or entry.issym() else 'no file'}")
            with _told():
                file = archive.extractfile(entry)
            if file is None:
                raise Unreadable(f"{entry.name!r} in it is no file")
            yield Member(_checked(entry.name), _pieces(file))
        if content.last != _END_OF_TAR:  # tarfile takes whatever it cannot read, after the first file, for the end
            raise Unreadable("it is cut off, or broken, after the last file that can be read")
        while piece := _read(content, PIECE_BYTES):  # the sums of what it is compressed with come last
            if piece.strip(b"\x00"):
                raise Unreadable("there is more in it behind its end, such as a second archive")


def _zip(packed: Path) -> Members:
    with ExitStack() as open_files:
        with _told():
            archive = open_files.enter_context(zipfile.ZipFile(packed))
        for entry in archive.infolist():
            kind = entry.external_attr >> 16 & _FOLDER_FORMAT
            if entry.is_dir():
                continue
            if kind and not stat.S_ISREG(kind):
                raise Unreadable(f"{entry.filename!r} in it is {'a link' if stat.S_ISLNK(kind) else 'no file'}")
            if entry.flag_bits & _ENCRYPTED:
                raise Unreadable(f"{entry.filename!r} in it is encrypted")
            with _told():
                content = archive.open(entry)
            with content:
                yield Member(_checked(entry.filename), _pieces(content))


_READERS: Mapping[Form, Callable[[Path], Members]] = {
    Form.GZIP: _gzip,
    Form.ZSTD: _zstd,
    Form.ZIP: _zip,
}


def _next(archive: tarfile.TarFile, content: _Forwards) -> tarfile.TarInfo | None:
    with _told(), content.headers():
        entry = archive.next()
        # It would keep all members, of which there may be millions, and what is said of all of them.
        archive.members.clear()  # type: ignore[attr-defined]
        archive.pax_headers.clear()  # type: ignore[attr-defined]
        return entry


def _uncompressed(stored: IO[bytes]) -> _Readable:
    begin = stored.read(len(_ZSTD))
    stored.seek(0)
    if begin.startswith(_GZIP):
        return gzip.GzipFile(fileobj=stored)
    return _Zstd(stored) if begin == _ZSTD else stored


class _Zstd:
    """As a file that is read."""

    def __init__(self, stored: IO[bytes]) -> None:
        from backports import zstd  # where a dataset asks for it

        self._file = zstd.ZstdFile(stored)
        self._broken = zstd.ZstdError

    def read(self, size: int = -1, /) -> bytes:
        try:
            return self._file.read(size)
        except self._broken as error:
            raise Unreadable(str(error)) from error


class _Forwards:
    """What tarfile needs of a file, of one that cannot go back. No header is taken for larger than headers are, nor are
    all together that one file has: tarfile has them in memory at once.
    """

    def __init__(self, file: _Readable, has_read: Callable[[int], None]) -> None:
        self._file = file
        self._has_read = has_read
        self._position = 0
        self._end_of_headers: int | None = None
        self.last = b""

    def read(self, size: int = -1, /) -> bytes:
        end = self._position + _MOST_OF_HEADERS if self._end_of_headers is None else self._end_of_headers
        if not 0 <= size <= end - self._position:
            raise ValueError("a header in it is too large")
        found = self._file.read(size)
        self._position += len(found)
        self.last = found
        self._has_read(len(found))
        return found

    @contextmanager
    def headers(self) -> Iterator[None]:
        """What is read meanwhile are those of one file."""
        self._end_of_headers = self._position + _MOST_OF_HEADERS
        try:
            yield
        finally:
            self._end_of_headers = None

    def tell(self) -> int:
        return self._position

    def seek(self, position: int, whence: int = 0, /) -> int:
        if whence or position < self._position:
            raise ValueError("a header in it leads back")
        while self._position < position and self.read(min(position - self._position, PIECE_BYTES)):
            pass
        return self._position


def _checked(name: str) -> str:
    """A name as it is below the folder. `./` is at the start of those that tar was called with `.` for."""
    path = "/".join(part for index, part in enumerate(name.split("/")) if part != "." or index)
    if (why := why_unsafe(path)) is not None:
        raise Unreadable(f"{name!r} in it cannot be the name of a file: it {why}")
    return path


def _pieces(file: _Readable) -> Iterator[bytes]:
    while piece := _read(file, PIECE_BYTES):
        yield piece


def _read(file: _Readable, size: int) -> bytes:
    with _told():
        return file.read(size)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except _BROKEN as error:
        raise Unreadable(str(error) or type(error).__name__) from error
    except OSError as error:
        if error.errno not in _OF_THE_CONTENT:
            raise
        raise Unreadable("it names a place before its start" if error.errno else str(error)) from error
