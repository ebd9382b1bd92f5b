"""The real explainer as a process on loopback, with models whose explanations are known."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent
RUNTIMES = PACKAGE.parent
sys.path[:0] = [
    str(PACKAGE),
    *(str(RUNTIMES / name) for name in ("explain", "onnxruntime", "serving")),
    str(RUNTIMES / "onnxruntime" / "tests"),
    str(RUNTIMES / "serving" / "tests"),
]
pytest.register_assert_rewrite("serving_support", "serving_fuzz")

from onnx_models import Models  # noqa: E402
from serving_support import ModelServer, ModelServers, Server  # noqa: E402


@dataclass(kw_only=True)
class ExplainServer(ModelServer):
    prediction_path: str = "/v2/models/m/explain"

    explain = Server.predict


class Servers(ModelServers[ExplainServer]):
    module = "headrace_explainer"
    kind = ExplainServer


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    starter = Servers(tmp_path, PACKAGE)
    yield starter
    starter.end_all()


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return Models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def affine_server(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ExplainServer]:
    """One explainer for all tests that only ask: y = x @ W + b, and small limits."""
    starter = Servers(tmp_path_factory.mktemp("affine"), PACKAGE)
    yield starter.start(models.affine(), "--max-body-bytes", "100000", "--max-rows", "4", "--budget", "300")
    starter.end_all()


@pytest.fixture(scope="session")
def slow_server(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ExplainServer]:
    """Each run of its model takes some tens of milliseconds, there is one row in a run, and little time."""
    starter = Servers(tmp_path_factory.mktemp("slow"), PACKAGE)
    flags = ("--max-batch", "1", "--max-waiting", "2", "--request-timeout", "10", "--max-rows", "400")
    yield starter.start(models.slow(), *flags)
    starter.end_all()
