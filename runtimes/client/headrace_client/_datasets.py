"""The files of a dataset, wherever they are: copied, mounted, or read as they come (`access: Stream`).

What is streamed is fetched by the launcher and comes over a socket of the pod, a piece at a time.
"""

from __future__ import annotations

import http.client
import io
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from headrace_client._wire import in_job

_PIECE_BYTES = 4 << 20
_TIMEOUT = 900.0  # seconds: the launcher tries again while a store is away, for ten minutes


class DatasetUnavailable(OSError):
    """What was to be read cannot be had; the job ends with what the launcher says of it."""


class DatasetFile:
    """`path` is below the dataset, or, of a dataset that is one file, the name that the file has in the
    pod: the dataset's; `size` is in bytes.
    """

    def __init__(self, path: str, size: int, source: tuple[str, ...]) -> None:
        self.path, self.size, self._source = path, size, source

    def open(self, buffer: int = _PIECE_BYTES) -> IO[bytes]:
        """To be read, and to seek in, as any file; `buffer` is how many bytes of it are in memory, and come at once.
        Any number of files may be open, in any thread or process.
        """
        if len(self._source) == 1:
            return open(self._source[0], "rb")
        return cast("IO[bytes]", io.BufferedReader(_Streamed(self.size, *self._source), buffer))

    def __repr__(self) -> str:
        return f"DatasetFile({self.path!r}, {self.size})"


def open_dataset(name: str) -> list[DatasetFile]:
    """All files of the dataset, sorted by path: of one that is divided those of this worker. Outside of a pod: of the
    file or folder `data/NAME` of the working directory.

    Raises FileNotFoundError where there is no such dataset, or no file in it, DatasetUnavailable.
    """
    streamed = os.environ.get("HEADRACE_STREAMED_DATASETS", "").split(",")
    if in_job() and name in streamed:
        server = os.environ["HEADRACE_STREAMS"]
        listed = json.loads(_Connection(server).get(f"/{name}"))
        return sorted(
            (
                DatasetFile(path or name, size, (server, f"/{name}/{number}"))
                for number, (path, size) in enumerate(listed)
            ),
            key=lambda file: file.path,
        )
    return _files(Path("/data" if in_job() else "data") / name)


def _files(place: Path) -> list[DatasetFile]:
    if place.is_file():
        return [DatasetFile(place.name, place.stat().st_size, (str(place),))]
    if not place.is_dir():
        raise FileNotFoundError(f"there is no dataset at {place}")
    found = sorted(_below(place, frozenset()))
    if not found:
        raise FileNotFoundError(f"there is no file in {place}")
    return [DatasetFile(path.relative_to(place).as_posix(), path.stat().st_size, (str(path),)) for path in found]


def _below(folder: Path, above: frozenset[tuple[int, int]]) -> Iterator[Path]:
    """All files, by links to folders, too: a volume may be made of them. None is followed to a folder that it is in."""
    itself = folder.stat()
    above |= {(itself.st_dev, itself.st_ino)}
    try:
        paths = list(folder.iterdir())
    except PermissionError:  # lost+found; the launcher has looked at all others
        return
    for path in paths:
        if path.is_dir():
            there = path.stat()
            if (there.st_dev, there.st_ino) not in above:
                yield from _below(path, above)
        elif path.is_file():
            yield path


class _Streamed(io.RawIOBase):
    """One file. It has a connection of its own, and in each process that it comes to by a fork another one."""

    def __init__(self, size: int, server: str, address: str) -> None:
        super().__init__()
        self._size, self._server, self._address = size, server, address
        self._position = 0
        self._connection: _Connection | None = None
        self._process = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError(f"negative seek position {base + offset}")
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        data = self._next(len(view))
        view[: len(data)] = data
        return len(data)

    def readall(self) -> bytes:
        # The base class asks for 8 KiB at a time, each of which is a request to the store.
        whole = io.BytesIO()  # hands over what it has without a copy
        while data := self._next(_PIECE_BYTES):
            whole.write(data)
        return whole.getvalue()

    def _next(self, most: int) -> bytes:
        end = min(self._position + most, self._size)
        if end <= self._position:
            return b""
        data = self._connected().get(f"{self._address}/{self._position}/{end}")
        self._position += len(data)
        return data

    def close(self) -> None:
        if self._connection is not None and self._process == os.getpid():
            self._connection.close()
        super().close()

    def _connected(self) -> _Connection:
        if self._connection is None or self._process != os.getpid():
            self._connection, self._process = _Connection(self._server), os.getpid()
        return self._connection


class _Connection(http.client.HTTPConnection):
    """To the launcher's socket."""

    def __init__(self, server: str) -> None:
        super().__init__("localhost", timeout=_TIMEOUT)
        self._server = server

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._server)

    def get(self, address: str) -> bytes:
        """Raises DatasetUnavailable."""
        try:
            self.request("GET", address)
            answer = self.getresponse()
            data = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise DatasetUnavailable(f"the launcher does not answer: {error!r}") from error
        if answer.status != http.client.OK:
            raise DatasetUnavailable(data.decode(errors="replace") or f"there is no {address}")
        return data
