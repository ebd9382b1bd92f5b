"""A real server as a process on loopback, for the tests of every server that is made with headrace_serving.

What it serves, with which flags, and how it is asked is in each server's conftest.py.
"""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import pytest

from headrace_local import ports

# None that the kernel would give to somebody else until the server takes it.
free_ports = ports.free

SERVING = Path(__file__).resolve().parent.parent
# For what takes a moment, or the seconds of a start, on a machine that does nothing else.
PATIENCE_SECONDS = 120
# Of a server in whose test it is not about time. The grace is also that of a connection of gRPC (docs/decisions/0050):
# who sends a message that is refused may not be told why in the moment in which the connection is renewed.
PATIENT = ("--request-timeout", "600", "--grace-seconds", "600")

_PACKED = gzip.compress(b"{}", mtime=0)
BROKEN_GZIP = (b"", b"nothing packed", _PACKED[:-4], _PACKED + b"rest")


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(kw_only=True)
class Server(ABC):
    """A running server; `url` is that of HTTP, and below it readiness and predictions have these paths."""

    process: subprocess.Popen[bytes]
    folder: Path
    url: str
    ready_path: str
    prediction_path: str
    opener: urllib.request.OpenerDirector = field(
        default_factory=lambda: urllib.request.build_opener(urllib.request.ProxyHandler({}))
    )

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def termination_log(self) -> Path:
        return self.folder / "termination-log"

    @property
    def address(self) -> tuple[str, int]:
        host, port = self.url.removeprefix("http://").split(":")
        return host, int(port)

    def call(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Reply:
        request = urllib.request.Request(self.url + path, data=body, headers=headers or {}, method=method)
        try:
            with self.opener.open(request, timeout=PATIENCE_SECONDS) as answer:
                return Reply(answer.status, dict(answer.headers), answer.read())
        except urllib.error.HTTPError as error:
            return Reply(error.code, dict(error.headers), error.read())

    def get(self, path: str) -> Reply:
        return self.call("GET", path)

    def predict(self, body: Any, headers: dict[str, str] | None = None) -> Reply:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.call("POST", self.prediction_path, content, headers)

    def metrics(self) -> dict[str, float]:
        lines = self.metrics_text().splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {name: float(value) for name, value in pairs}

    @abstractmethod
    def metrics_text(self) -> str:
        """What the server says of itself to Prometheus."""

    def is_ready(self) -> bool:
        try:
            return self.get(self.ready_path).status == 200
        except OSError:
            return False

    def await_ready(self) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self.is_ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"the server did not become ready:\n{self.log.read_text()}")
            time.sleep(0.05)

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_SECONDS)

    def why_not_started(self) -> dict[str, Any]:
        """The termination message of a server that did not start, but for its words."""
        assert self.process.wait(PATIENCE_SECONDS) == 2
        assert "Traceback" not in self.log.read_text()
        assert len(self.termination_log.read_bytes()) <= 2000
        record: dict[str, Any] = json.loads(self.termination_log.read_bytes())
        assert record.pop("message")
        assert record.pop("hint")
        return record


class Processes:
    """Starts servers, each with a folder of its own, and ends exactly those."""

    def __init__(self, folder: Path, package: Path) -> None:
        self._folder = folder
        self._package = package
        self._processes: list[subprocess.Popen[bytes]] = []

    def new_folder(self) -> Path:
        folder = self._folder / f"server-{len(self._processes)}"
        folder.mkdir()
        return folder

    def launch(self, folder: Path, module: str, *flags: str) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(self._package), str(SERVING)]),
            "HEADRACE_TERMINATION_LOG": str(folder / "termination-log"),
        }
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", module, *flags], env=environment, stderr=log, stdout=log, start_new_session=True
            )
        self._processes.append(process)
        return process

    def end_all(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.wait(10)


@dataclass(kw_only=True)
class ModelServer(Server):
    """A server of one exported model; `metrics_url` is that of the metrics."""

    metrics_url: str
    ready_path: str = "/v2/health/ready"

    def metrics_text(self) -> str:
        with self.opener.open(f"{self.metrics_url}/metrics", timeout=PATIENCE_SECONDS) as answer:
            return answer.read().decode()


S = TypeVar("S", bound=ModelServer)


class ModelServers(Processes, Generic[S]):
    """Starts them, by the flags that they have in common."""

    module: str
    kind: Callable[..., S]
    # Of a server with more ports than two: the flag of each, and the field of `kind` that gets its number.
    more_ports: tuple[tuple[str, str], ...] = ()

    def start(self, model_dir: Path, *flags: str, wait: bool = True) -> S:
        folder = self.new_folder()
        port, metrics_port, *others = free_ports(2 + len(self.more_ports))
        more = dict(zip(self.more_ports, others, strict=True))
        process = self.launch(
            folder,
            self.module,
            *("--model-dir", str(model_dir), "--model-name", "m", "--model-version", "7", "--digest", "sha256:abc"),
            *("--bind", "127.0.0.1", "--port", str(port), "--metrics-port", str(metrics_port), "--threads", "1"),
            *(text for (flag, _), number in more.items() for text in (flag, str(number))),
            *flags,
        )
        server = self.kind(
            process=process,
            folder=folder,
            url=f"http://127.0.0.1:{port}",
            metrics_url=f"http://127.0.0.1:{metrics_port}",
            **{name: number for (_, name), number in more.items()},
        )
        if wait:
            server.await_ready()
        return server


def assert_unpacked_in_one_and_several_members(server: Server, body: bytes) -> None:
    for packed in (gzip.compress(body), gzip.compress(body[:20]) + gzip.compress(body[20:])):
        assert server.predict(packed, {"Content-Encoding": "gzip"}).status == 200


def assert_a_gzip_bomb_is_refused(server: Server, max_body_bytes: int) -> None:
    before = server.metrics()["process_resident_memory_bytes"]
    bomb = gzip.compress(b" " * 150_000_000, compresslevel=9)
    assert len(bomb) < max_body_bytes

    assert server.predict(bomb, {"Content-Encoding": "gzip"}).status == 413
    assert server.metrics()["process_resident_memory_bytes"] < before + 20e6


def assert_headers_of_64_kilobytes_are_taken_and_longer_ones_stay_secret(server: Server) -> None:
    def asked(size: int) -> Reply:
        return server.call("GET", server.ready_path, headers={"Authorization": "Bearer " + "s3cret" * (size // 6)})

    assert [asked(size).status for size in (9_000, 64_000)] == [200, 200]
    refused = asked(70_000)
    assert (refused.status, set(refused.json)) == (431, {"error"})
    assert "s3cret" not in refused.body.decode()
    assert "s3cret" not in server.log.read_text()
