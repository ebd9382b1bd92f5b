"""HTTP answers that are the same in every protocol: each failure a JSON error, and a connection that is closed in time.

What there is to be asked, and for whom it counts, is each server's own: its service.py.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import orjson
from aiohttp import web

from headrace_serving.failures import MethodNotAllowedError, RequestError
from headrace_serving.gate import Gate

log = logging.getLogger("headrace_serving")

JSON = {"Content-Type": "application/json"}

# What streams is sent already when its handler is done.
Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

# Their bodies were not read to the end.
_CLOSING = (408, 413)
# The same request may have an answer in a moment.
_BUSY = (429, 503)


def path_of(request: web.BaseRequest) -> str:
    """As it stands in the request line, without a query, and without the server where a client puts it before."""
    path = request.raw_path.partition("?")[0]
    return path if path.startswith("/") else f"/{path.partition('://')[2].partition('/')[2]}"


async def answered(request: web.BaseRequest, handler: Handler, gate: Gate) -> web.StreamResponse:
    """The handler's answer, or that to the error which it raises; the last on its connection while the gate drains."""
    try:
        response = await handler(request)
    except RequestError as error:
        response = error_answer(error)
    except Exception:  # whatever it is, the client gets an answer
        log.exception("%s %s failed", request.method, path_of(request))
        response = error_answer(RequestError(500, "internal error; the server's log says more"))
    if gate.is_draining or response.status in _CLOSING:
        response.force_close()
    return response


def error_answer(error: RequestError) -> web.Response:
    headers = dict(JSON)
    if error.status in _BUSY:
        headers["Retry-After"] = str(error.retry_seconds)
    if isinstance(error, MethodNotAllowedError):
        headers["Allow"] = ", ".join(error.allowed)
    body = orjson.dumps({"error": error.message})
    return web.Response(status=error.status, body=body, headers=headers)
