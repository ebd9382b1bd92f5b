"""A real S3 server (versitygw), models as the trainer exports them, and the loader as a process."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from breaking_proxy import BreakingProxy, first_byte
from headrace_local import binaries, ports

PACKAGE = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PACKAGE))

from headrace_loader import __main__ as entry_point  # noqa: E402 - the package is found by the line above

ACCESS, SECRET = "loader-test", "loader-test-secret"
BUCKET = "team-a"
START_SECONDS = 60
WAIT_SECONDS = 60


class S3Server:
    """versitygw on loopback, to be stopped and started again on the same port."""

    def __init__(self, program: str, folder: Path) -> None:
        self._program = program
        self._folder = folder
        (self.port,) = ports.free(1)
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "data").mkdir(parents=True)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def is_running(self) -> bool:
        return self._process is not None

    def start(self) -> None:
        command = [self._program, "--access", ACCESS, "--secret", SECRET, "--port", f"127.0.0.1:{self.port}"]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "posix", str(self._folder / "data")], stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return
        pytest.fail(f"versitygw did not start:\n{(self._folder / 'log').read_text()}")

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def client(self) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=ACCESS,
            aws_secret_access_key=SECRET,
            config=Config(s3={"addressing_style": "path"}),
        )


@pytest.fixture(scope="session")
def _s3_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    server = S3Server(str(binaries.ensure().path("versitygw")), tmp_path_factory.mktemp("s3"))
    server.start()
    server.client().create_bucket(Bucket=BUCKET)
    yield server
    server.stop()


@pytest.fixture
def s3(_s3_session: S3Server) -> Iterator[S3Server]:
    yield _s3_session
    if not _s3_session.is_running:
        _s3_session.start()


FILES = {
    "onnx/model.onnx": b"onnx " * 1000,
    "onnx/model.onnx.data": bytes(range(256)) * 20_000,
    "tensorflow/saved_model.pb": b"graph " * 500,
    "tensorflow/variables/variables.index": b"",
    "signature.json": b'{"inputs":[],"outputs":[]}',
}
FORMATS = {"ONNX": "onnx", "TensorFlow": "tensorflow"}


def manifest_of(files: Mapping[str, bytes]) -> dict[str, Any]:
    return {
        "files": [
            {"path": path, "sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
            for path, content in sorted(files.items())
        ],
        "formats": dict(FORMATS),
        "protocol": 1,
    }


def encoded(manifest: Any) -> bytes:
    return json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()


@dataclass(frozen=True)
class Published:
    """A model in S3."""

    prefix: str
    digest: str

    @property
    def uri(self) -> str:
        return f"s3://{BUCKET}/{self.prefix}"


class Publisher:
    """Puts models into S3, honest ones and others."""

    def __init__(self, s3: S3Server) -> None:
        self._client = s3.client()

    def publish(self, files: Mapping[str, bytes] | None = None, manifest: bytes | None = None) -> Published:
        prefix = f"model-{time.monotonic_ns()}/artifacts/model"
        files = FILES if files is None else files
        manifest = encoded(manifest_of(files)) if manifest is None else manifest
        for path, content in files.items():
            self.put(f"{prefix}/{path}", content)
        self.put(f"{prefix}/manifest.json", manifest)
        return Published(prefix, f"sha256:{hashlib.sha256(manifest).hexdigest()}")

    def put(self, key: str, content: bytes) -> None:
        self._client.put_object(Bucket=BUCKET, Key=key, Body=content)

    def delete(self, key: str) -> None:
        self._client.delete_object(Bucket=BUCKET, Key=key)


@pytest.fixture
def publisher(s3: S3Server) -> Publisher:
    return Publisher(s3)


@dataclass(frozen=True)
class Load:
    """A finished load."""

    code: int
    target: Path
    termination_log: Path
    log: str

    @property
    def record(self) -> dict[str, Any]:
        content = self.termination_log.read_bytes()
        assert len(content) <= 2000
        value: dict[str, Any] = json.loads(content)
        return value

    def files(self) -> dict[str, bytes]:
        return {
            str(path.relative_to(self.target)): path.read_bytes() for path in self.target.rglob("*") if path.is_file()
        }


class Loader:
    """Runs the loader as its pod does, in a folder of its own.

    `run` calls its entry point in this process (one of its own costs a second of imports); `start` and `finish` are for
    what only a process can show.
    """

    def __init__(self, folder: Path, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self._endpoint = endpoint
        self._monkeypatch = monkeypatch
        self._processes: list[subprocess.Popen[bytes]] = []
        self._log = folder / "log"
        self._termination_log = folder / "termination-log"
        self.target = folder / "models" / "current"
        self.target.parent.mkdir()
        (self.progress_port,) = ports.free(1)

    def run(self, model: Published, **fields: Any) -> Load:
        """`fields` replace fields of HEADRACE_LOAD; `secret` replaces the key."""
        for name, value in self._environment(model, **fields).items():
            self._monkeypatch.setenv(name, value)
        self._termination_log.unlink(missing_ok=True)
        handler = signal.getsignal(signal.SIGTERM)
        try:
            code = entry_point.main()
        finally:
            signal.signal(signal.SIGTERM, handler)
        return Load(code, self.target, self._termination_log, "")

    def start(self, model: Published, within: Sequence[str] = (), **fields: Any) -> subprocess.Popen[bytes]:
        """`within` is a command that runs the one that follows it."""
        environment = {**os.environ, "PYTHONPATH": str(PACKAGE), **self._environment(model, **fields)}
        with self._log.open("wb") as log:
            process = subprocess.Popen(
                [*within, sys.executable, "-m", "headrace_loader"], env=environment, stderr=log, start_new_session=True
            )
        self._processes.append(process)
        return process

    def finish(self, process: subprocess.Popen[bytes]) -> Load:
        return Load(process.wait(60), self.target, self._termination_log, self._log.read_text())

    def await_log(self, text: str) -> None:
        self.await_that(lambda: text in self._log.read_text())

    def await_that(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while not holds():
            if time.monotonic() > deadline:
                pytest.fail(f"it has not come to it; the log:\n{self._log.read_text()}")
            time.sleep(0.02)

    def progress(self) -> dict[str, Any]:
        """What a started loader answers."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.progress_port}/progress", timeout=10) as answer:
            value: dict[str, Any] = json.load(answer)
        return value

    def end_all(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.wait(10)

    def _environment(self, model: Published, *, secret: str = SECRET, **fields: Any) -> dict[str, str]:
        request = {
            "protocol": 1,
            "uri": model.uri,
            "digest": model.digest,
            "formats": ["ONNX"],
            "target": str(self.target),
            "storage": {"endpoint": self._endpoint, "region": "us-east-1"},
            **fields,
        }
        return {
            "HEADRACE_LOAD": json.dumps(request),
            "HEADRACE_TERMINATION_LOG": str(self._termination_log),
            "AWS_ACCESS_KEY_ID": ACCESS,
            "AWS_SECRET_ACCESS_KEY": secret,
        }


@pytest.fixture
def loader(tmp_path: Path, s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loader]:
    starter = Loader(tmp_path, s3.endpoint, monkeypatch)
    yield starter
    starter.end_all()


@pytest.fixture
def proxy(s3) -> Iterator[BreakingProxy]:
    proxy = BreakingProxy(s3.port)
    yield proxy
    proxy.close()


@pytest.fixture
def through(proxy):
    """A storage whose way leads through the proxy."""
    return {"endpoint": proxy.endpoint, "region": "us-east-1"}


class Hold:
    """What a proxy pours of the file at `path`: ranges that begin before a byte as they are, the others when it is
    released.
    """

    def __init__(self, path: str, before: int) -> None:
        self._path, self._before = path, before
        self.waits, self.released = threading.Event(), threading.Event()
        self.breaks_off = False  # when it is released

    def __call__(self, path: str, wanted: str, content: bytes) -> Iterator[bytes]:
        if path.endswith(self._path) and first_byte(wanted) >= self._before:
            half = len(content) // 2
            yield content[:half]
            self.waits.set()
            self.released.wait(WAIT_SECONDS)
            content = b"" if self.breaks_off else content[half:]
        yield content


@pytest.fixture
def hold(proxy: BreakingProxy) -> Iterator[Callable[[str, int], Hold]]:
    """Makes the proxy hold a file back; in the end all is released."""
    made: list[Hold] = []

    def begin(path: str, before: int) -> Hold:
        made.append(Hold(path, before))
        proxy.pours = made[-1]
        return made[-1]

    yield begin
    for one in made:
        one.released.set()
