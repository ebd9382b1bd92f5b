"""Real SavedModels, exported by Keras, and the real server as a process on loopback."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import grpc
import pytest

PACKAGE = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PACKAGE))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

READY_SECONDS = 90
VOCABULARY = 50
MONITORING = 'prometheus_config { enable: true, path: "/monitoring/prometheus/metrics" }'


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Server:
    """A running server; `url` is that of the REST API, `target` that of gRPC."""

    process: subprocess.Popen[bytes]
    url: str
    target: str
    log: Path
    termination_log: Path
    model: str = "m"
    opener: urllib.request.OpenerDirector = field(
        default_factory=lambda: urllib.request.build_opener(urllib.request.ProxyHandler({}))
    )

    def call(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Reply:
        request = urllib.request.Request(self.url + path, data=body, headers=headers or {}, method=method)
        try:
            with self.opener.open(request, timeout=10) as answer:
                return Reply(answer.status, dict(answer.headers), answer.read())
        except urllib.error.HTTPError as error:
            return Reply(error.code, dict(error.headers), error.read())

    def get(self, path: str) -> Reply:
        return self.call("GET", path)

    def predict(self, body: Any, headers: dict[str, str] | None = None) -> Reply:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.call("POST", f"/v1/models/{self.model}:predict", content, headers)

    def metrics(self) -> dict[str, float]:
        lines = self.get("/monitoring/prometheus/metrics").body.decode().splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {name: float(value) for name, value in pairs}

    @cached_property
    def channel(self) -> grpc.Channel:
        return grpc.insecure_channel(self.target, options=[("grpc.enable_http_proxy", 0)])

    def is_ready(self) -> bool:
        try:
            return self.get(f"/v1/models/{self.model}").status == 200
        except OSError:
            return False

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


def free_ports(number: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    try:
        return [listener.getsockname()[1] for listener in sockets]
    finally:
        for listener in sockets:
            listener.close()


class Servers:
    """Starts servers and ends exactly those."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._servers: list[Server] = []

    def start(self, base_path: Path, *flags: str, wait: bool = True) -> Server:
        folder = self._folder / f"server-{len(self._servers)}"
        folder.mkdir()
        monitoring = folder / "monitoring.config"
        monitoring.write_text(MONITORING)
        port, rest_port = free_ports(2)
        command = [sys.executable, "-m", "headrace_tensorflow_serving", "--model_name=m", "--bind=127.0.0.1"]
        command += [f"--port={port}", f"--rest_api_port={rest_port}", f"--model_base_path={base_path}"]
        command += [f"--monitoring_config_file={monitoring}", *flags]
        environment = {
            **os.environ,
            "PYTHONPATH": str(PACKAGE),
            "HEADRACE_TERMINATION_LOG": str(folder / "termination-log"),
        }
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, env=environment, stderr=log, stdout=log, start_new_session=True)
        server = Server(
            process=process,
            url=f"http://127.0.0.1:{rest_port}",
            target=f"127.0.0.1:{port}",
            log=folder / "log",
            termination_log=folder / "termination-log",
        )
        self._servers.append(server)
        if wait:
            self.await_ready(server)
        return server

    def end_all(self) -> None:
        for server in self._servers:
            if "channel" in vars(server):
                server.channel.close()
            if server.process.poll() is None:
                server.process.kill()
            server.process.wait(10)

    @staticmethod
    def await_ready(server: Server) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not server.is_ready():
            if server.process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"the server did not become ready:\n{server.log.read_text()}")
            time.sleep(0.05)


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    starter = Servers(tmp_path)
    try:
        yield starter
    finally:
        starter.end_all()


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return Models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def both_servers(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    """Started together, because most of a start is the import of TensorFlow."""
    starter = Servers(tmp_path_factory.mktemp("servers"))
    try:
        started = (
            starter.start(models.text.base_path, "--max_body_bytes=200000", wait=False),
            starter.start(models.many.base_path, wait=False),
        )
        for server in started:
            starter.await_ready(server)
        yield started
    finally:
        starter.end_all()


@pytest.fixture(scope="session")
def text_server(both_servers: tuple[Server, Server]) -> Server:
    """The next token of a text: one input, one output."""
    return both_servers[0]


@pytest.fixture(scope="session")
def many_server(both_servers: tuple[Server, Server]) -> Server:
    """Two inputs and two outputs, and signatures for everything else."""
    return both_servers[1]


TYPES = (
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float16",
    "bfloat16",
    "float32",
    "float64",
    "string",
)


@dataclass(frozen=True)
class Exported:
    """A Keras model, and the folder of its versions."""

    model: Any
    base_path: Path


class Models:
    """Makes base paths as the loader leaves them."""

    types = TYPES

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @cached_property
    def text(self) -> Exported:
        """Version 7; version 3 is not there but for its folder, and `notes` is none."""
        import keras

        keras.utils.set_random_seed(1)
        model = keras.Sequential(
            [
                keras.Input((None,), dtype="int32", name="tokens"),
                keras.layers.Embedding(VOCABULARY, 6),
                keras.layers.LSTM(8),
                keras.layers.Dense(VOCABULARY, activation="softmax"),
            ]
        )
        base_path = self._folder / "text"
        for name in ("3", "notes"):
            (base_path / name).mkdir(parents=True)
        model.export(str(base_path / "7"), verbose=False)
        return Exported(model, base_path)

    @cached_property
    def many(self) -> Exported:
        """The model itself takes a length and a vector, and gives a sum and the vector's shares."""
        import keras
        import tensorflow as tf

        keras.utils.set_random_seed(2)
        length = keras.Input((), dtype="int64", name="length")
        vector = keras.Input((3,), dtype="float32", name="vector")
        total = keras.layers.Dense(1, name="total")(vector) + keras.ops.cast(length, "float32")[:, None]
        model = keras.Model(
            {"length": length, "vector": vector}, {"total": total, "shares": keras.layers.Softmax()(vector)}
        )
        words = keras.layers.StringLookup(vocabulary=["one", "two"])
        words(tf.constant(["one"]))
        archive = keras.export.ExportArchive()
        archive.track(model)
        archive.track(words)
        batch = {
            "length": tf.TensorSpec((None,), tf.int64, name="length"),
            "vector": tf.TensorSpec((None, 3), tf.float32, name="vector"),
        }
        archive.add_endpoint("serving_default", model.call, input_signature=[batch])
        floats = tf.TensorSpec((None,), tf.float32, name="x")
        text = tf.TensorSpec((None,), tf.string, name="text")
        others: dict[str, tuple[Callable[..., Any], list[Any]]] = {
            "logarithm": (lambda x: {"y": tf.math.log(x)}, [floats]),
            "texts": (lambda text: {"text": tf.identity(text), "raw_bytes": tf.identity(text)}, [text]),
            "lookup": (lambda text: {"number": words(text)}, [text]),
            "unpack": (lambda text: {"y": tf.io.decode_compressed(text, "ZLIB")}, [text]),
            "sum": (lambda x: {"y": tf.reduce_sum(x)}, [floats]),
            "slow": (_slow, [floats]),
            "types": (
                lambda *values: dict(zip(TYPES, map(tf.identity, values), strict=True)),
                [tf.TensorSpec((None,), name, name=f"{name}_in") for name in TYPES],
            ),
        }
        for name, (function, signature) in others.items():
            archive.add_endpoint(name, tf.function(function, autograph=False), input_signature=signature)
        base_path = self._folder / "many"
        archive.write_out(str(base_path / "1"), verbose=False)
        return Exported(model, base_path)

    def files(self, name: str, files: dict[str, bytes]) -> Path:
        folder = self._folder / name
        folder.mkdir(parents=True, exist_ok=True)
        for path, content in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        return folder


def _slow(x: Any) -> dict[str, Any]:
    """y = x, after as many multiplications of a large matrix as x says, each some milliseconds on one core."""
    import tensorflow as tf

    matrix = tf.eye(512) + 0 * tf.reduce_max(x)
    times = tf.cast(x[0], tf.int32)
    product = tf.while_loop(lambda i, _: i < times, lambda i, p: (i + 1, tf.matmul(p, matrix)), (0, matrix))[1]
    return {"y": x * tf.reduce_max(product)}
