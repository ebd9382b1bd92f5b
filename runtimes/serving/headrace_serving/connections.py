"""A client's connection: what it may send before there is a request, how long that may take, each refusal as JSON.

aiohttp parses HTTP and calls the handler; here is what it would answer in its own words, with the client's bytes in the
answer and in the log, and what it would wait for without end. Some of what is overridden is not its public API: the
version is pinned, and every test of the servers runs through here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import BadStatusLine, HttpProcessingError, InvalidHeader, InvalidURLError, LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import RequestHandler, _ErrInfo

from headrace_serving.answers import error_answer
from headrace_serving.failures import RequestError

log = logging.getLogger("headrace_serving")

MAX_URL_BYTES = 8 * 1024
# Of one header, with its name; tokens of large organisations have tens of kilobytes.
MAX_HEADER_BYTES = 64 * 1024
MAX_HEADERS = 128
# Of all headers together, while they are not complete.
MAX_HEAD_BYTES = 128 * 1024
# Of the headers of all connections that did not come in one piece, as nearly all do.
MAX_PARTIAL_HEADS_BYTES = 32 * 1024**2
HEAD_SECONDS = 15
# Longer than a proxy keeps an idle connection (Traefik: 90 s): who closes first must not be the one that gets requests.
KEEPALIVE_SECONDS = 180
# For what a client still sends when it is refused: an end without it would take the answer away from the client, too.
LINGERING_SECONDS = 2


class Server(web.Server):
    """Connections to `handler`, which answers requests whose headers are there."""

    def __init__(self, handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> None:
        super().__init__(handler)
        self.partial_heads_bytes = 0

    def __call__(self) -> RequestHandler:
        return Connection(self, asyncio.get_running_loop())


class Connection(RequestHandler):
    """aiohttp's, with bounds on a request's head (request line and headers) and refusals that are ours."""

    def __init__(self, server: Server, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            server,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]
            auto_decompress=False,  # Unpacking is bounded, and ours.
            keepalive_timeout=KEEPALIVE_SECONDS,
            lingering_time=LINGERING_SECONDS,
            max_line_size=MAX_URL_BYTES,
            max_field_size=MAX_HEADER_BYTES,
            max_headers=MAX_HEADERS,
        )
        self._server = server
        self._body: StreamReader = EMPTY_PAYLOAD
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._is_refused = False
        self._lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._end_head()
        self._lost.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        is_of_head = bool(data) and self._body.is_eof()
        requests = self._request_count
        super().data_received(data)
        if self._request_count > requests:
            self._end_head()
            self._take_last()
        elif is_of_head:
            self._go_on_with_head(len(data))

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what is no request, or to what a handler raised. The last one on its connection."""
        error = _refusal(exc)
        if error is None:
            log.error("%s %s failed", request.method, request.path, exc_info=exc)
            error = RequestError(status, "internal error; the server's log says more")
        if request.writer.output_size > 0:
            raise ConnectionError("a part of another answer is sent already")
        response = error_answer(error)
        response.force_close()
        return response

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        is_last = self._is_refused and not self._messages
        if is_last:
            resp.force_close()
        finished = await super().finish_response(request, resp, start_time)
        if is_last:
            await self._linger()
        return finished

    def _go_on_with_head(self, size: int) -> None:
        self._head_bytes += size
        self._server.partial_heads_bytes += size
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(RequestError(431, f"the headers have more than {MAX_HEAD_BYTES} bytes"))
        elif self._server.partial_heads_bytes > MAX_PARTIAL_HEADS_BYTES:
            self._refuse(RequestError(503, "the server holds as many bytes of headers as it may; try again"))
        elif self._head_timer is None:
            self._start_timer()

    def _end_head(self) -> None:
        self._server.partial_heads_bytes -= self._head_bytes
        self._head_bytes = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _take_last(self) -> None:
        """What has just been parsed: a request, whose body may be under way, or why there is none."""
        message, payload = self._messages[-1]
        if not isinstance(message, _ErrInfo):
            self._body = payload
            return
        self._is_refused = True
        if not self._body.is_eof():
            # It is the body of a request that is being answered: that answer is the refusal, and nothing follows.
            self._messages.pop()
            self._body.set_exception(web.RequestPayloadError("malformed"))
            self._body.feed_eof()

    def _refuse(self, error: RequestError) -> None:
        """In its turn, where earlier requests are not answered yet."""
        self._end_head()
        self._is_refused = True
        self._messages.append((_ErrInfo(error.status, error, error.message), EMPTY_PAYLOAD))
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _start_timer(self) -> None:
        self._head_timer = self._loop.call_later(HEAD_SECONDS, self._head_is_late)

    def _head_is_late(self) -> None:
        self._head_timer = None
        if self._head_bytes:
            self._refuse(RequestError(408, f"the headers did not arrive within {HEAD_SECONDS} s"))
        else:
            self.force_close()

    async def lost(self) -> None:
        """Returns when the connection is lost."""
        await self._lost.wait()

    async def _linger(self) -> None:
        """Until the client has seen the end; what it sends meanwhile is read and dropped."""
        if self.transport is None:
            return
        if self.transport.can_write_eof():
            self.transport.write_eof()
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGERING_SECONDS):
                await self._lost.wait()


async def lost(request: web.BaseRequest) -> None:
    """Returns when the client of a request has gone away."""
    connection = request.protocol
    assert isinstance(connection, Connection)
    await connection.lost()


# In these words, whatever the exception says: it has a part of what the client sent.
_REFUSALS: tuple[tuple[type[HttpProcessingError], str], ...] = (
    (InvalidURLError, "the request line has no valid URL"),
    (BadStatusLine, "the request line is not HTTP"),
    (InvalidHeader, "a header is malformed"),
)
_TOO_MANY = "Too many headers received"
_NO_HOST = "Missing 'Host' header in request."


def _refusal(exc: Any) -> RequestError | None:
    """None where it is no request that is to blame."""
    if isinstance(exc, RequestError):
        return exc
    if not isinstance(exc, HttpProcessingError):
        return None
    if isinstance(exc, LineTooLong):
        if exc.args[1] == MAX_URL_BYTES:
            return RequestError(414, f"the URL has more than {MAX_URL_BYTES} bytes")
        return RequestError(431, f"a header has more than {MAX_HEADER_BYTES} bytes")
    if exc.message == _TOO_MANY:
        return RequestError(431, f"there are more than {MAX_HEADERS} headers")
    if exc.message == _NO_HOST:
        return RequestError(400, "there is no Host header")
    return RequestError(400, next((text for kind, text in _REFUSALS if isinstance(exc, kind)), _in_general(exc)))


def _in_general(exc: HttpProcessingError) -> str:
    """llhttp's own words, without the bytes that aiohttp puts behind them."""
    reason, separator, _ = exc.message.partition(":\n\n")
    return f"the request is not HTTP: {reason}" if separator else "the request is not HTTP"
