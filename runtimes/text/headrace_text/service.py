"""What can be asked over HTTP: OpenAI's API and the Open Inference Protocol's generate, each failure in its form.

aiohttp's low-level server without its router: there is one model, so all paths are known.
"""

from __future__ import annotations

import logging
import time

from aiohttp import web

from headrace_serving.answers import answered, path_of
from headrace_serving.failures import RequestError
from headrace_serving.gate import Gate
from headrace_serving.open_inference import OpenInference, Tensors
from headrace_serving.routes import Routes, getting, json_answer, metrics_answer, routed
from headrace_text import PLATFORM, SERVER_NAME, __version__, generate, openai
from headrace_text.model import Model
from headrace_text.parameters import Fields, wanted
from headrace_text.settings import Settings
from headrace_text.texts import Asked, Texts

log = logging.getLogger("headrace_text")

_TEXT = {"datatype": "BYTES", "shape": [1]}


class Service:
    """Answers requests for one model, from the first moment."""

    def __init__(self, settings: Settings, texts: Texts, gate: Gate) -> None:
        self._settings = settings
        self._texts = texts
        self._gate = gate
        self._created = int(time.time())
        self._routes = self._all_routes()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """The protocols' port."""
        return await answered(request, self._in_its_form, self._gate)

    async def handle_metrics(self, request: web.BaseRequest) -> web.StreamResponse:
        """The metrics' port."""
        return metrics_answer(request, self._texts.metrics_text)

    async def _in_its_form(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await routed(request, self._routes, f"the model is {self._settings.model_name!r}")
        except Exception as error:
            if not path_of(request).startswith("/v1/"):
                raise
            if not isinstance(error, RequestError):
                log.exception("%s %s failed", request.method, path_of(request))
                error = RequestError(500, "internal error; the server's log says more")
            return openai.error_answer(error)

    def _all_routes(self) -> Routes:
        name = self._settings.model_name
        about = OpenInference(
            server=SERVER_NAME,
            server_version=__version__,
            extension="generate",
            model=name,
            model_version=self._settings.model_version,
            platform=PLATFORM,
            tensors=self._tensors,
            require_ready=self._texts.require_ready,
            require_alive=self._texts.require_alive,
        )
        routes = about.routes() | {
            "/v1/models": getting(self._models),
            f"/v1/models/{name}": getting(self._model),
            "/v1/completions": {"POST": self._completions},
            "/v1/chat/completions": {"POST": self._chat},
        }
        for base in about.models():
            routes[f"{base}/generate"] = {"POST": self._generate}
            routes[f"{base}/generate_stream"] = {"POST": self._generate_stream}
        return routes

    def _tensors(self) -> tuple[Tensors, Tensors]:
        self._texts.require_model()
        return [{"name": "text_input", **_TEXT}], [{"name": "text_output", **_TEXT}]

    async def _models(self, _request: web.BaseRequest) -> web.Response:
        return json_answer({"object": "list", "data": [self._described()]})

    async def _model(self, _request: web.BaseRequest) -> web.Response:
        return json_answer(self._described())

    def _described(self) -> dict[str, object]:
        model = self._texts.require_model()
        return openai.model(self._settings.model_name, self._created, model.decoder.context, has_cache=model.has_cache)

    async def _completions(self, request: web.BaseRequest) -> web.StreamResponse:
        def ask(model: Model, fields: Fields) -> Asked:
            form = openai.form(fields, self._settings.model_name, is_chat=False)
            prompt = openai.prompt(fields, model.config.vocabulary)
            how = wanted(fields, model.config.defaults, openai.DEFAULT_TOKENS)
            return Asked(prompt, how, form, fields.switch("stream"))

        return await self._texts.answer(request, ask)

    async def _chat(self, request: web.BaseRequest) -> web.StreamResponse:
        def ask(model: Model, fields: Fields) -> Asked:
            form = openai.form(fields, self._settings.model_name, is_chat=True)
            how = wanted(fields, model.config.defaults, None)
            return Asked(openai.messages(fields), how, form, fields.switch("stream"))

        # How long a template takes is up to who wrote it.
        return await self._texts.answer(request, ask, is_heavy=True)

    async def _generate(self, request: web.BaseRequest) -> web.StreamResponse:
        return await self._generated(request, streams=False)

    async def _generate_stream(self, request: web.BaseRequest) -> web.StreamResponse:
        return await self._generated(request, streams=True)

    async def _generated(self, request: web.BaseRequest, *, streams: bool) -> web.StreamResponse:
        form = generate.Form(self._settings.model_name, self._settings.model_version)

        def ask(model: Model, fields: Fields) -> Asked:
            how = wanted(fields.fields("parameters"), model.config.defaults, generate.DEFAULT_TOKENS)
            return Asked(generate.prompt(fields), how, form, streams)

        return await self._texts.answer(request, ask, generate.INVALID)
