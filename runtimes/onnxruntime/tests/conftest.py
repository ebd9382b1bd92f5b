"""Real ONNX models, and the real server as a process on loopback."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2_grpc

PACKAGE = Path(__file__).resolve().parent.parent
SERVING = PACKAGE.parent / "serving"
sys.path[:0] = [str(PACKAGE), str(PACKAGE / "tests"), str(SERVING), str(SERVING / "tests")]
pytest.register_assert_rewrite("serving_support", "serving_fuzz", "grpc_requests")

from grpc_requests import NO_PROXY  # noqa: E402
from onnx_models import Models  # noqa: E402
from serving_support import PATIENT, ModelServer, ModelServers, Server  # noqa: E402


@dataclass(kw_only=True)
class OnnxServer(ModelServer):
    grpc_port: int
    prediction_path: str = "/v2/models/m/infer"

    @property
    def target(self) -> str:
        """Where gRPC is."""
        return f"127.0.0.1:{self.grpc_port}"

    @cached_property
    def channel(self) -> grpc.Channel:
        return grpc.insecure_channel(self.target, options=NO_PROXY)

    @cached_property
    def stub(self) -> Any:
        return service_pb2_grpc.GRPCInferenceServiceStub(self.channel)

    infer = Server.predict


class Servers(ModelServers[OnnxServer]):
    module = "headrace_onnxruntime"
    kind = OnnxServer
    more_ports = (("--grpc-port", "grpc_port"),)

    def __init__(self, folder: Path, package: Path) -> None:
        super().__init__(folder, package)
        self._started: list[OnnxServer] = []

    def start(self, model_dir: Path, *flags: str, wait: bool = True) -> OnnxServer:
        server = super().start(model_dir, *flags, wait=wait)
        self._started.append(server)
        return server

    def end_all(self) -> None:
        for server in self._started:
            if "channel" in vars(server):
                server.channel.close()
        super().end_all()


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    starter = Servers(tmp_path, PACKAGE)
    yield starter
    starter.end_all()


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return Models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def affine_server(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OnnxServer]:
    """One server for all tests that only ask: y = x @ W + b, rows free, and small limits."""
    starter = Servers(tmp_path_factory.mktemp("affine"), PACKAGE)
    yield starter.start(models.affine(), *PATIENT, "--max-body-bytes", "200000", "--max-request-rows", "256")
    starter.end_all()


@pytest.fixture(scope="session")
def tokens_server(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OnnxServer]:
    """Like a text model: INT32 tokens of any number and length, probabilities of the last one's successor."""
    starter = Servers(tmp_path_factory.mktemp("tokens"), PACKAGE)
    yield starter.start(models.tokens(), *PATIENT)
    starter.end_all()


@pytest.fixture(scope="session")
def types_server(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OnnxServer]:
    """Each datatype goes in and comes out unchanged."""
    starter = Servers(tmp_path_factory.mktemp("types"), PACKAGE)
    yield starter.start(models.every_type(), *PATIENT)
    starter.end_all()
