"""Paths of the explainer, and the way of one request: a place or 429, its turn or 503, its answer or 504.

A request that has its turn is computed in a thread, which keeps the turn until it ends: what nobody waits for any more
stops before its next run of the model, and no more of them compute at a time than there are turns.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from concurrent.futures import Executor

from aiohttp import web

from headrace_explain.kind import Explanation
from headrace_explainer import __version__, protocol
from headrace_explainer.explaining import Abandoned, Explainer
from headrace_explainer.metrics import Metrics
from headrace_explainer.protocol import Defaults, Question
from headrace_explainer.settings import Settings
from headrace_onnxruntime.protocol import BINARY_HEADER
from headrace_serving import bodies
from headrace_serving.answers import JSON, Handler, answered
from headrace_serving.bodies import Bounds
from headrace_serving.buffers import Buffers, Share
from headrace_serving.failures import CLIENT_CLOSED, IncompleteError, RequestError
from headrace_serving.gate import Gate
from headrace_serving.routes import Routes, getting, json_answer, metrics_answer, routed


class Service:
    """Answers requests for one model, from the first moment; before `serve` with 503.

    `executor` has a thread for each turn, and one for bodies.
    """

    def __init__(self, settings: Settings, metrics: Metrics, gate: Gate, executor: Executor) -> None:
        self._settings = settings
        self._metrics = metrics
        self._gate = gate
        self._executor = executor
        self._turns = asyncio.Semaphore(settings.concurrency)
        self._buffers = Buffers(settings.max_buffered_bytes)
        self._bounds = Bounds(
            settings.max_body_bytes, "--max-body-bytes", settings.request_timeout, "--request-timeout"
        )
        self._defaults = Defaults(settings.method, settings.budget, settings.max_rows)
        self._explainer: Explainer | None = None
        self._prefix = {"model_name": settings.model_name, "model_version": settings.model_version}
        self._routes = self._all_routes()

    def serve(self, explainer: Explainer) -> None:
        """From now on requests are answered."""
        self._explainer = explainer

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """The protocol's port."""
        return await answered(request, self._routed, self._gate)

    async def handle_metrics(self, request: web.BaseRequest) -> web.Response:
        """The metrics' port."""
        return metrics_answer(request, self._rendered)

    def _rendered(self) -> str:
        metrics = self._metrics
        metrics.in_flight = self._gate.in_flight
        metrics.buffered_bytes = self._buffers.taken
        metrics.ready = self._explainer is not None and not self._gate.is_draining
        return metrics.render()

    def _all_routes(self) -> Routes:
        model = f"/v2/models/{self._settings.model_name}"
        routes: dict[str, Mapping[str, Handler]] = {
            "/v2": getting(self._server_metadata),
            "/v2/health/live": getting(self._live),
            "/v2/health/ready": getting(self._ready),
        }
        for base in (model, f"{model}/versions/{self._settings.model_version}"):
            routes[f"{base}/ready"] = getting(self._ready)
            routes[f"{base}/explain"] = {"POST": self._explain}
        return routes

    async def _routed(self, request: web.BaseRequest) -> web.StreamResponse:
        where = f"/v2/models/{self._settings.model_name}/explain"
        return await routed(request, self._routes, f"explanations are at {where}")

    async def _server_metadata(self, _request: web.BaseRequest) -> web.Response:
        return json_answer({"name": "headrace-explainer", "version": __version__, "extensions": ["explain"]})

    async def _live(self, _request: web.BaseRequest) -> web.Response:
        return json_answer({"live": True})

    async def _ready(self, _request: web.BaseRequest) -> web.Response:
        if self._gate.is_draining:
            raise RequestError(503, "the explainer is about to end")
        self._require_explainer()
        return json_answer({"name": self._settings.model_name, "ready": True})

    def _require_explainer(self) -> Explainer:
        if self._explainer is None:
            raise RequestError(503, "the model is being loaded")
        return self._explainer

    async def _explain(self, request: web.BaseRequest) -> web.Response:
        metrics = self._metrics
        try:
            response = await self._admitted(self._require_explainer(), request)
        except IncompleteError:
            metrics.incomplete_requests += 1
            raise
        except RequestError as error:
            metrics.count_request(error.status)
            raise
        except Exception:  # counted here, logged and answered by who called
            metrics.count_request(500)
            raise
        metrics.count_request(200)
        return response

    async def _admitted(self, explainer: Explainer, request: web.BaseRequest) -> web.Response:
        with self._buffers.share() as share:
            with self._gate.arrival():
                packed = await bodies.read(request, share, self._bounds)
            started = time.monotonic()
            with self._gate.admitted():
                question = await self._question(explainer, request, packed, share)
                explanation = await self._explained(explainer, request, question, started)
                body = protocol.answer(self._prefix, question, explanation)
        self._metrics.seconds.observe(time.monotonic() - started)
        self._metrics.evaluations += explanation.evaluations
        self._metrics.incomplete += not explanation.complete
        return web.Response(body=body, headers=JSON)

    async def _question(self, explainer: Explainer, request: web.BaseRequest, packed: bytes, share: Share) -> Question:
        encoding = bodies.encoding(request)
        json_length = request.headers.get(BINARY_HEADER)

        def parse() -> Question:
            body = bodies.unpack(packed, encoding, share, self._bounds)
            return protocol.parse(explainer.signature, body, json_length, self._defaults)

        return await asyncio.get_running_loop().run_in_executor(self._executor, parse)

    async def _explained(
        self, explainer: Explainer, request: web.BaseRequest, question: Question, started: float
    ) -> Explanation:
        """In its turn, and within its time."""
        limit = self._settings.request_timeout
        until = started + limit
        try:
            async with asyncio.timeout(until - time.monotonic()):
                await self._turns.acquire()
        except TimeoutError as error:
            raise RequestError(503, f"the turn of this request did not come within {limit:g} s; try again") from error
        is_late = False

        def is_abandoned() -> bool:
            return is_late or request.transport is None

        loop = asyncio.get_running_loop()
        answer = loop.run_in_executor(self._executor, explainer.explain, question, until, is_abandoned)
        answer.add_done_callback(self._give_turn_back)
        try:
            async with asyncio.timeout(until - time.monotonic()):
                return await asyncio.shield(answer)
        except (TimeoutError, Abandoned) as error:
            is_late = True
            if request.transport is None:
                raise RequestError(CLIENT_CLOSED, "the client went away") from error
            hint = "ask for fewer rows or a smaller budget, or raise spec.explain.deadline (--request-timeout)"
            raise RequestError(504, f"there was no answer within {limit:g} s; {hint}") from error

    def _give_turn_back(self, answer: asyncio.Future[Explanation]) -> None:
        self._turns.release()
        if not answer.cancelled():
            answer.exception()  # nobody else may have asked for it, where the request was given up
