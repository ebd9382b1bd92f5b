"""Small decoders, in this process and behind the real server on loopback."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import openai
import pytest

PACKAGE = Path(__file__).resolve().parent.parent
RUNTIMES = PACKAGE.parent
SERVING = RUNTIMES / "serving"
sys.path[:0] = [str(PACKAGE), str(PACKAGE / "tests"), str(SERVING), str(SERVING / "tests")]
pytest.register_assert_rewrite("serving_support", "serving_fuzz")

import text_models  # noqa: E402
from serving_support import PATIENT, ModelServer, ModelServers, Reply  # noqa: E402

from headrace_text import folder, session  # noqa: E402
from headrace_text.cached import CachedDecoder  # noqa: E402
from headrace_text.decoder import Decoder  # noqa: E402
from headrace_text.uncached import UncachedDecoder  # noqa: E402


@dataclass(kw_only=True)
class TextServer(ModelServer):
    prediction_path: str = "/v1/completions"

    @cached_property
    def client(self) -> openai.OpenAI:
        """OpenAI's own, which tries nothing again."""
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0, timeout=600)

    def complete(self, prompt: Any, **fields: Any) -> Reply:
        return self.predict({"prompt": prompt, **fields})

    def text(self, prompt: Any, **fields: Any) -> str:
        """Of a completion that is answered."""
        reply = self.complete(prompt, **fields)
        assert reply.status == 200, reply.body
        return str(reply.json["choices"][0]["text"])

    def post(self, path: str, body: Any) -> Reply:
        return self.call("POST", path, json.dumps(body).encode())


class Servers(ModelServers[TextServer]):
    module = "headrace_text"
    kind = TextServer


class HeldServers(Servers):
    """Their texts stand still at a place in their middle for as long as `held_while` is there."""

    module = "text_held"

    def __init__(self, folder: Path, held_while: Path) -> None:
        super().__init__(folder, PACKAGE / "tests")
        self.held_while = held_while


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenAI's client asks through the proxy of the environment, loopback too."""
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    starter = Servers(tmp_path, PACKAGE)
    yield starter
    starter.end_all()


@pytest.fixture
def held_servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HeldServers]:
    held_while = tmp_path / "held"
    held_while.touch()
    monkeypatch.setenv("HELD_WHILE", str(held_while))
    starter = HeldServers(tmp_path, held_while)
    yield starter
    starter.end_all()


@pytest.fixture(scope="session")
def cached_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return text_models.write(tmp_path_factory.mktemp("cached") / "model", text_models.cached())


@pytest.fixture(scope="session")
def uncached_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the same weights."""
    return text_models.write(tmp_path_factory.mktemp("uncached") / "model", text_models.uncached())


@pytest.fixture(scope="session")
def long_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Which writes for as long as somebody waits: no token ends its texts."""
    written = text_models.cached(context=20_000)
    settings = text_models.config(written, end=[])
    return text_models.write(tmp_path_factory.mktemp("long") / "model", written, settings)


@pytest.fixture(scope="session")
def server(cached_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TextServer]:
    """One server for all tests that only ask."""
    starter = Servers(tmp_path_factory.mktemp("server"), PACKAGE)
    yield starter.start(cached_model, *PATIENT)
    starter.end_all()


@pytest.fixture(scope="session")
def decoder_of() -> Callable[..., Decoder]:
    """A decoder in this process, of a model's folder."""

    def load(model: Path, slots: int = 4) -> Decoder:
        config = folder.read(model)
        graph = session.load(config, 1)
        config = session.fitted(config, graph)
        kind = UncachedDecoder if config.cache is None else CachedDecoder
        return kind(graph, config, slots, config.context)

    return load


@pytest.fixture(scope="session")
def by_hand(uncached_model: Path) -> Callable[[list[int], int], list[int]]:
    """The likeliest tokens behind a prompt, of the graph without a cache, with nothing of ours in between."""
    import onnxruntime

    engine = onnxruntime.InferenceSession(str(uncached_model / "text" / "model.onnx"))

    def tokens(prompt: list[int], count: int) -> list[int]:
        text = list(prompt)
        for _ in range(count):
            [logits] = engine.run(["logits"], {"input_ids": [text]})
            text.append(int(logits[0, -1].argmax()))
        return text[len(prompt) :]

    return tokens
