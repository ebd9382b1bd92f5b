"""The paths that the Open Inference Protocol has of every server of a model: its health, and what it says of itself.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from headrace_serving.answers import Handler
from headrace_serving.routes import getting, json_answer

Tensors = list[dict[str, Any]]


def _always() -> None:
    """A server that answers is alive."""


@dataclass(frozen=True)
class OpenInference:
    """`tensors` gives the model's inputs and outputs. It, `require_ready` and `require_alive` raise RequestError."""

    server: str
    server_version: str
    extension: str
    model: str
    model_version: str
    platform: str
    tensors: Callable[[], tuple[Tensors, Tensors]]
    require_ready: Callable[[], object]
    require_alive: Callable[[], object] = _always

    def routes(self) -> dict[str, Mapping[str, Handler]]:
        found = {
            "/v2": getting(self._server_metadata),
            "/v2/health/live": getting(self._live),
            "/v2/health/ready": getting(self._ready),
        }
        for base in self.models():
            found[base] = getting(self._model_metadata)
            found[f"{base}/ready"] = getting(self._model_ready)
        return found

    def models(self) -> Iterator[str]:
        """The paths of the model: with its version and without."""
        yield f"/v2/models/{self.model}"
        yield f"/v2/models/{self.model}/versions/{self.model_version}"

    async def _server_metadata(self, _request: web.BaseRequest) -> web.Response:
        return json_answer({"name": self.server, "version": self.server_version, "extensions": [self.extension]})

    async def _live(self, _request: web.BaseRequest) -> web.Response:
        self.require_alive()
        return json_answer({"live": True})

    async def _ready(self, _request: web.BaseRequest) -> web.Response:
        self.require_ready()
        return json_answer({"ready": True})

    async def _model_ready(self, _request: web.BaseRequest) -> web.Response:
        self.require_ready()
        return json_answer({"name": self.model, "ready": True})

    async def _model_metadata(self, _request: web.BaseRequest) -> web.Response:
        inputs, outputs = self.tensors()
        return json_answer(
            {
                "name": self.model,
                "versions": [self.model_version],
                "platform": self.platform,
                "inputs": inputs,
                "outputs": outputs,
            }
        )
