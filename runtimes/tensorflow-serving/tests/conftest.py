"""Real SavedModels, exported by Keras, and the real server as a process on loopback."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import grpc
import pytest

PACKAGE = Path(__file__).resolve().parent.parent
SERVING = PACKAGE.parent / "serving"
sys.path[:0] = [str(PACKAGE), str(SERVING), str(SERVING / "tests")]
pytest.register_assert_rewrite("serving_support", "serving_fuzz")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from serving_support import Processes, Server, free_ports  # noqa: E402

VOCABULARY = 50
MONITORING = 'prometheus_config { enable: true, path: "/monitoring/prometheus/metrics" }'


@dataclass(kw_only=True)
class TensorFlowServer(Server):
    """`url` is that of the REST API, `target` that of gRPC."""

    target: str
    ready_path: str = "/v1/models/m"
    prediction_path: str = "/v1/models/m:predict"

    def metrics_text(self) -> str:
        return self.get("/monitoring/prometheus/metrics").body.decode()

    @cached_property
    def channel(self) -> grpc.Channel:
        return grpc.insecure_channel(self.target, options=[("grpc.enable_http_proxy", 0)])


class Servers(Processes):
    # As serving_support.PATIENT.
    patient = ("--rest_api_timeout_in_ms=600000", "--grace_seconds=600")

    def __init__(self, folder: Path, package: Path) -> None:
        super().__init__(folder, package)
        self._servers: list[TensorFlowServer] = []

    def start(self, base_path: Path, *flags: str, wait: bool = True) -> TensorFlowServer:
        folder = self.new_folder()
        monitoring = folder / "monitoring.config"
        monitoring.write_text(MONITORING)
        port, rest_port = free_ports(2)
        process = self.launch(
            folder,
            "headrace_tensorflow_serving",
            *("--model_name=m", "--bind=127.0.0.1", f"--port={port}", f"--rest_api_port={rest_port}"),
            *(f"--model_base_path={base_path}", f"--monitoring_config_file={monitoring}"),
            *flags,
        )
        server = TensorFlowServer(
            process=process, folder=folder, url=f"http://127.0.0.1:{rest_port}", target=f"127.0.0.1:{port}"
        )
        self._servers.append(server)
        if wait:
            server.await_ready()
        return server

    def end_all(self) -> None:
        for server in self._servers:
            if "channel" in vars(server):
                server.channel.close()
        super().end_all()


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    starter = Servers(tmp_path, PACKAGE)
    try:
        yield starter
    finally:
        starter.end_all()


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return Models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def both_servers(
    models: Models, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[TensorFlowServer, TensorFlowServer]]:
    """Started together, because most of a start is the import of TensorFlow."""
    starter = Servers(tmp_path_factory.mktemp("servers"), PACKAGE)
    try:
        started = (
            starter.start(models.text.base_path, *starter.patient, "--max_body_bytes=200000", wait=False),
            starter.start(models.many.base_path, *starter.patient, wait=False),
        )
        for server in started:
            server.await_ready()
        yield started
    finally:
        starter.end_all()


@pytest.fixture(scope="session")
def text_server(both_servers: tuple[TensorFlowServer, TensorFlowServer]) -> TensorFlowServer:
    """The next token of a text: one input, one output."""
    return both_servers[0]


@pytest.fixture(scope="session")
def many_server(both_servers: tuple[TensorFlowServer, TensorFlowServer]) -> TensorFlowServer:
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
            "number": (lambda text: {"y": tf.strings.to_number(text)}, [text]),
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

    def function(self, name: str, function: Callable[[Any], Any]) -> Path:
        """A base path of y = function(x) for rows of two numbers."""
        import tensorflow as tf

        module = tf.Module()
        module.call = tf.function(
            lambda x: {"y": function(x)}, input_signature=[tf.TensorSpec((None, 2), tf.float32, name="x")]
        )
        tf.saved_model.save(module, str(self._folder / name / "1"), signatures=module.call)
        return self._folder / name

    def edited(self, name: str, edit: Callable[[Any, Path], None]) -> Path:
        """y = softsign(x * w), whose SavedModel `edit` changes in its message and its folder."""
        import tensorflow as tf
        from tensorflow.core.protobuf import saved_model_pb2

        module = tf.Module()
        module.w = tf.Variable([1.0, 2.0])
        module.call = tf.function(
            lambda x: {"y": tf.math.softsign(x * module.w)},
            input_signature=[tf.TensorSpec((None, 2), tf.float32, name="x")],
        )
        folder = self._folder / name / "1"
        tf.saved_model.save(module, str(folder), signatures=module.call)
        file = folder / "saved_model.pb"
        message = saved_model_pb2.SavedModel.FromString(file.read_bytes())
        edit(message, folder)
        file.write_bytes(message.SerializeToString())
        return folder

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
