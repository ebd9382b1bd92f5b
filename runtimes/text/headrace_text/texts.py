"""The way of every request for text, whatever protocol it came by: bytes, a prompt, a place, an answer, the counters.

What the bytes mean and how an answer is written is each protocol's own: openai.py and generate.py.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from aiohttp import web

from headrace_serving import bodies, connections
from headrace_serving.answers import JSON
from headrace_serving.bodies import Bounds
from headrace_serving.buffers import Buffers, Share
from headrace_serving.failures import CLIENT_CLOSED, IncompleteError, RequestError
from headrace_serving.gate import Gate
from headrace_text.batch import Batch, NonFiniteError
from headrace_text.chat import Message
from headrace_text.generation import End, Generation, News
from headrace_text.loop import Loop
from headrace_text.metrics import Metrics
from headrace_text.model import Model
from headrace_text.openai import TooLongError, UnknownModelError, Usage
from headrace_text.parameters import Fields, Wanted, decoded
from headrace_text.sampling import Sampler
from headrace_text.settings import Settings
from headrace_text.stops import Stops

# What takes longer than a millisecond or so is done beside the event loop, which has probes to answer.
LARGE_BYTES = 16 * 1024
# A stream whose client reads nothing is given up so long after its time.
UNREAD_SECONDS = 10.0
# Those that are in flight at the end of the server have so long to take its last word.
TELLING_SECONDS = 1.0

_STREAM = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


class Form(Protocol):
    """How a protocol writes an answer: at once, or as the events of a stream."""

    def whole(self, text: str, end: End, usage: Usage) -> bytes: ...

    def first(self) -> Iterator[bytes]: ...

    def piece(self, text: str, end: End | None) -> Iterator[bytes]: ...

    def last(self, usage: Usage) -> Iterator[bytes]: ...

    def failed(self, error: RequestError) -> Iterator[bytes]: ...


@dataclass(frozen=True)
class Asked:
    """A request for text. The prompt is a text, tokens, or the messages of a conversation."""

    prompt: str | list[int] | Sequence[Message]
    wanted: Wanted
    form: Form
    streams: bool

    @property
    def is_conversation(self) -> bool:
        """Its answer is a text of its own; that to a text or to tokens goes on with them."""
        return not isinstance(self.prompt, str) and not (self.prompt and isinstance(self.prompt[0], int))


class Texts:
    """All of it is used on the event loop; before `serve` there is no model, and a request is a 503."""

    def __init__(self, settings: Settings, metrics: Metrics, gate: Gate) -> None:
        self._settings = settings
        self._timeout = settings.request_timeout
        self._metrics = metrics
        self._gate = gate
        self._buffers = Buffers(settings.max_buffered_bytes)
        self._bounds = Bounds(
            settings.max_body_bytes, "--max-body-bytes", settings.request_timeout, "--request-timeout"
        )
        # Of one thread: long texts are taken apart one at a time, which bounds memory too.
        self._heavy = ThreadPoolExecutor(max_workers=1, thread_name_prefix="heavy")
        self._model: Model | None = None
        self._loop: Loop | None = None
        self._answers: set[_Answer] = set()

    def serve(self, model: Model) -> None:
        """From now on requests are answered with `model`."""
        batch = Batch(model.decoder, model.config.end_tokens, self._settings.prompt_piece)
        self._loop = Loop(batch, self._settings.max_queue)
        self._model = model
        self._metrics.slots = model.decoder.slots

    async def close(self) -> None:
        """Who still waits is told that nothing comes."""
        for answer in self._answers:
            answer.fail(RequestError(503, "the server ends; try again"))
        await self._gate.quiet(0, TELLING_SECONDS)
        self._heavy.shutdown(wait=False, cancel_futures=True)
        if self._loop is not None:
            self._loop.close()

    @property
    def is_ready(self) -> bool:
        return self._model is not None and not self._gate.is_draining and not self.is_broken

    @property
    def is_broken(self) -> bool:
        return self._loop is not None and self._loop.is_broken

    def require_ready(self) -> None:
        """Raises RequestError(503)."""
        if self._gate.is_draining:
            raise RequestError(503, "the server is about to end")
        self.require_model()
        self.require_alive()

    def require_alive(self) -> None:
        """Raises RequestError(503)."""
        if self.is_broken:
            raise RequestError(503, "the server has failed; its log says more")

    def require_model(self) -> Model:
        """Raises RequestError(503)."""
        if self._model is None:
            raise RequestError(503, "the model is being loaded")
        return self._model

    def metrics_text(self) -> str:
        metrics = self._metrics
        metrics.in_flight = self._gate.in_flight
        metrics.buffered_bytes = self._buffers.taken
        metrics.running = self._loop.running if self._loop else 0
        metrics.waiting = self._loop.waiting if self._loop else 0
        metrics.ready = self.is_ready
        return metrics.render()

    async def answer(
        self,
        request: web.BaseRequest,
        ask: Callable[[Model, Fields], Asked],
        invalid: int = 400,
        *,
        is_heavy: bool = False,
    ) -> web.StreamResponse:
        """The answer to a request, sent already where it streams, and counted. `invalid` is the protocol's status of
        what is no valid request, `is_heavy`: however short it is, it may take long to read. Raises RequestError.
        """
        metrics = self._metrics
        try:
            response, code = await self._admitted(self.require_model(), request, ask, is_heavy)
        except IncompleteError:
            metrics.incomplete_requests += 1
            raise
        except UnknownModelError:
            raise
        except RequestError as error:
            error.status = invalid if error.status == 400 else error.status
            metrics.count_request(error.status)
            raise
        except Exception:  # counted here, logged and answered by who called
            metrics.count_request(500)
            raise
        metrics.count_request(code)
        return response

    async def _admitted(
        self, model: Model, request: web.BaseRequest, ask: Callable[[Model, Fields], Asked], is_heavy: bool
    ) -> tuple[web.StreamResponse, int]:
        with self._buffers.share() as share:
            with self._gate.arrival():
                packed = await bodies.read(request, share, self._bounds)
            started = time.perf_counter()
            with self._gate.admitted():
                is_heavy = is_heavy or len(packed) > LARGE_BYTES or bool(bodies.encoding(request))
                asked, prompt = await self._beside(is_heavy, partial(self._read, model, request, share, packed, ask))
                with self._generation(model, request, asked, prompt, started) as answer:
                    response, code = await self._written(request, asked, answer)
        if code == 200:
            self._metrics.request_seconds.observe(time.perf_counter() - started)
        return response, code

    async def _beside(self, is_heavy: bool, work: Callable[[], tuple[Asked, list[int]]]) -> tuple[Asked, list[int]]:
        """Raises RequestError(504): no thread can be stopped in its work, but its client need not wait."""
        if not is_heavy:
            return work()
        try:
            async with asyncio.timeout(self._timeout):
                return await asyncio.get_running_loop().run_in_executor(self._heavy, work)
        except TimeoutError as error:
            late = f"the prompt was not read within {self._timeout:g} s; --request-timeout raises that"
            raise RequestError(504, late) from error

    def _read(
        self,
        model: Model,
        request: web.BaseRequest,
        share: Share,
        packed: bytes,
        ask: Callable[[Model, Fields], Asked],
    ) -> tuple[Asked, list[int]]:
        """The request and its prompt in tokens. In any thread."""
        body = bodies.unpack(packed, bodies.encoding(request), share, self._bounds)
        asked = ask(model, decoded(body))
        return asked, _tokens(model, asked.prompt)

    @contextmanager
    def _generation(
        self, model: Model, request: web.BaseRequest, asked: Asked, prompt: list[int], since: float
    ) -> Iterator[_Answer]:
        """Its slot is free once it has ended, or nobody waits for it any more."""
        assert self._loop is not None
        answer = _Answer(self._metrics, len(prompt))
        wanted = asked.wanted
        generation = Generation(
            prompt,
            model.decoder.context if wanted.most is None else wanted.most,
            Sampler(wanted.sampling),
            model.tokens.decoding(() if asked.is_conversation else prompt),
            Stops(wanted.stops),
            answer.tell,
            since,
        )
        self._loop.submit(generation)
        self._metrics.prompt_tokens += len(prompt)
        watch = asyncio.ensure_future(connections.lost(request))
        watch.add_done_callback(lambda _watch: answer.fail(RequestError(CLIENT_CLOSED, "the client went away")))
        late = f"there was no whole answer within {self._timeout:g} s; --request-timeout raises that"
        timer = asyncio.get_running_loop().call_later(self._timeout, answer.fail, RequestError(504, late))
        self._answers.add(answer)
        try:
            yield answer
        finally:
            self._answers.discard(answer)
            timer.cancel()
            watch.cancel()
            self._loop.cancel(generation)

    async def _written(self, request: web.BaseRequest, asked: Asked, answer: _Answer) -> tuple[web.StreamResponse, int]:
        """The answer, and the status to count. Raises RequestError where nothing of it is sent yet."""
        if not asked.streams:
            return await _at_once(asked.form, answer), 200
        news = await answer.next()
        response = web.StreamResponse(headers=_STREAM)
        try:
            async with asyncio.timeout(self._timeout + UNREAD_SECONDS):
                await response.prepare(request)
                return response, await _streamed(response, asked.form, answer, news)
        except ConnectionError:
            return response, CLIENT_CLOSED
        except TimeoutError:  # its client reads nothing
            if request.transport is not None:
                request.transport.abort()
            return response, CLIENT_CLOSED


class _Answer:
    """The news of one text, as they come."""

    def __init__(self, metrics: Metrics, prompt_tokens: int) -> None:
        self._metrics = metrics
        self._prompt_tokens = prompt_tokens
        self._news: asyncio.Queue[News] = asyncio.Queue()

    def tell(self, news: News) -> None:
        metrics = self._metrics
        if news.error is not None:
            metrics.nonfinite_outputs += isinstance(news.error, NonFiniteError)
        else:
            metrics.answer_tokens += 1
            histogram = metrics.first_token_seconds if news.tokens == 1 else metrics.token_seconds
            histogram.observe(news.seconds)
        self._news.put_nowait(news)

    def fail(self, error: RequestError) -> None:
        """Nobody waits any more for what comes."""
        self._news.put_nowait(News("", 0.0, 0, error=error))

    async def next(self) -> News:
        """What the next token has brought. Raises RequestError."""
        news = await self._news.get()
        if news.error is not None:
            raise news.error
        return news

    def usage(self, last: News) -> Usage:
        return Usage(self._prompt_tokens, last.tokens)


async def _at_once(form: Form, answer: _Answer) -> web.Response:
    pieces = []
    while True:
        news = await answer.next()
        pieces.append(news.text)
        if news.end is not None:
            return web.Response(body=form.whole("".join(pieces), news.end, answer.usage(news)), headers=JSON)


async def _streamed(response: web.StreamResponse, form: Form, answer: _Answer, news: News) -> int:
    """The status to count. Raises ConnectionError."""
    try:
        await _send(response, form.first())
        while True:
            await _send(response, form.piece(news.text, news.end))
            if news.end is not None:
                break
            news = await answer.next()
        await _send(response, form.last(answer.usage(news)))
    except RequestError as error:
        await _send(response, form.failed(error))
        return error.status
    return 200


async def _send(response: web.StreamResponse, events: Iterator[bytes]) -> None:
    if content := b"".join(events):
        await response.write(content)


def _tokens(model: Model, prompt: str | list[int] | Sequence[Message]) -> list[int]:
    """Raises RequestError(400)."""
    context = model.decoder.context
    if not isinstance(prompt, str) and prompt and isinstance(prompt[0], int):
        tokens = [token for token in prompt if isinstance(token, int)]
    else:
        text, with_special = (prompt, True) if isinstance(prompt, str) else (_conversation(model, prompt), False)
        if not model.tokens.may_fit(text, context):
            raise TooLongError(
                f"the prompt has {len(text)} characters, and the model's context is {context} tokens: shorten it"
            )
        tokens = model.tokens.encode(text, with_special=with_special)
    if not tokens:
        raise RequestError(400, "the prompt is empty")
    if len(tokens) >= context:
        raise TooLongError(
            f"the prompt has {len(tokens)} tokens, and the model's context is {context} tokens, prompt and answer "
            "together: shorten it",
        )
    return tokens


def _conversation(model: Model, prompt: Sequence[Message | int]) -> str:
    if model.chat is None:
        raise RequestError(
            400, "the model has no chat template: use /v1/completions, or add one to tokenizer_config.json"
        )
    return model.chat.prompt([message for message in prompt if not isinstance(message, int)])
