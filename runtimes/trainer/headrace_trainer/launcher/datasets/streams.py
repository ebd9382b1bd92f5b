"""Datasets that the script reads as they come, and of which nothing is copied: the launcher fetches the bytes that are
asked for, and hands them on by a socket of its pod.

    GET /NAME                  the files: [[path, size in bytes], …]
    GET /NAME/NUMBER/BEGIN/END bytes of the file of this number
    409                        what failed, one line

Credentials, retries and the comparison with what was listed are the launcher's, for each kind of place; the script's
side (runtimes/client) needs the standard library alone. What fails is remembered until it is read well: it is why the
script ends.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import socketserver
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from headrace_common.protocol.config import Dataset
from headrace_common.protocol.reasons import Reason
from headrace_trainer.launcher.datasets.download import as_it_was
from headrace_trainer.launcher.datasets.objects import Object
from headrace_trainer.launcher.datasets.origins.kind import Origin
from headrace_trainer.launcher.failures.judge import Failed, Failure, launcher_failed
from headrace_trainer.launcher.log import log

_MOST_AT_ONCE = 16 << 20  # bytes of one answer, which is in memory


@dataclass(frozen=True)
class Streamed:
    """One dataset: what this worker reads of it, and from where."""

    dataset: Dataset
    objects: Sequence[Object]
    origin: Origin


class Streams:
    """All of a pod. `socket` is there once one is served."""

    def __init__(self) -> None:
        self._served: dict[str, Streamed] = {}
        self._failing = threading.Lock()
        self._failures: dict[str, Failure] = {}  # by what was asked for, the first one first
        self.socket: Path | None = None

    @property
    def names(self) -> Sequence[str]:
        return tuple(self._served)

    @property
    def failure(self) -> Failure | None:
        """Of the first file that could not be read, and was not read well since."""
        with self._failing:
            return next(iter(self._failures.values()), None)

    def serve(self, one: Streamed) -> None:
        """From now on, to the end of this process."""
        self._served[one.dataset.name] = one
        if self.socket is None:
            # Short, and of this user alone: a socket's path has 107 bytes at most.
            folder = tempfile.mkdtemp(prefix="headrace-")
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
            self.socket = Path(folder) / "streams"
            server = _Server(str(self.socket), _handler_of(self))
            threading.Thread(target=server.serve_forever, name="streams", daemon=True).start()
        size = sum(found.size for found in one.objects)
        log(f"dataset {one.dataset.name}: {len(one.objects)} file(s), {size / 1e6:.1f} MB, streamed")

    def answer(self, path: str) -> bytes:
        """Raises LookupError for what is not there, Failed."""
        name, *of_file = path.strip("/").split("/")
        one = self._served[name]
        if not of_file:
            return json.dumps([(found.path, found.size) for found in one.objects]).encode()
        number, begin, end = map(int, of_file)
        found = one.objects[number]
        end = min(end, found.size, begin + _MOST_AT_ONCE)
        if not 0 <= begin < end:
            return b""
        with as_it_was(one.dataset, found):
            return one.origin.read(one.dataset, found, begin, end)

    def cause_of(self, failure: Failure) -> Failure:
        """Why a script has failed: what it could not read, unless it has ended in another way than by itself."""
        is_by_itself = failure.reason in (Reason.SCRIPT_RAISED, Reason.SCRIPT_EXITED)
        return (self.failure or failure) if is_by_itself else failure

    def failed(self, path: str, failure: Failure) -> None:
        """What was asked for by this path could not be had."""
        with self._failing:
            self._failures.setdefault(_file_of(path), failure)

    def went_well(self, path: str) -> None:
        """It could be had, or a part of it."""
        with self._failing:
            self._failures.pop(_file_of(path), None)


def _file_of(path: str) -> str:
    """The name and the number, whichever part of the file."""
    return "/".join(path.strip("/").split("/")[:2])


def _handler_of(streams: Streams) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:  # the base class names it so
            try:
                found = streams.answer(self.path)
                streams.went_well(self.path)
                self._send(HTTPStatus.OK, found)
            except (LookupError, ValueError):
                self._send(HTTPStatus.NOT_FOUND, b"")
            except Failed as error:
                streams.failed(self.path, error.failure)
                self._send(HTTPStatus.CONFLICT, error.failure.message.encode())
            except OSError:  # who asked is gone
                self.close_connection = True
            except Exception as error:  # noqa: BLE001 - else a fault of ours would be the script's
                streams.failed(self.path, launcher_failed(error))
                self._send(HTTPStatus.CONFLICT, f"{type(error).__name__} in the launcher".encode())

        def _send(self, status: HTTPStatus, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def address_string(self) -> str:
            return "the script"  # a socket of this kind has no address

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 128


def environment(streams: Streams) -> Mapping[str, str]:
    """What the script is told."""
    if streams.socket is None:
        return {}
    return {"HEADRACE_STREAMS": os.fspath(streams.socket), "HEADRACE_STREAMED_DATASETS": ",".join(streams.names)}
