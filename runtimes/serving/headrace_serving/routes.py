"""The paths of a server whose model is known: a path and a method lead to a handler, else to a refusal in JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

import orjson
from aiohttp import web

from headrace_serving.answers import JSON, Handler, error_answer, path_of
from headrace_serving.exposition import CONTENT_TYPE
from headrace_serving.failures import MethodNotAllowedError, RequestError

Routes = Mapping[str, Mapping[str, Handler]]
"""The handlers of each path by their methods."""


def getting(handler: Handler) -> Mapping[str, Handler]:
    """Of a path that is only read."""
    return {"GET": handler, "HEAD": handler}


async def routed(request: web.BaseRequest, routes: Routes, elsewhere: str) -> web.StreamResponse:
    """The answer of the request's handler. Raises RequestError: 404, which says what is `elsewhere`, or 405."""
    path = path_of(request)
    methods = routes.get(path) or routes.get(unquote(path))
    if methods is None:
        raise RequestError(404, f"there is nothing at this path; {elsewhere}")
    handler = methods.get(request.method)
    if handler is None:
        raise MethodNotAllowedError(request.method, methods)
    return await handler(request)


def metrics_answer(request: web.BaseRequest, render: Callable[[], str]) -> web.Response:
    """Of the metrics' port."""
    if request.path != "/metrics":
        return error_answer(RequestError(404, "there is nothing but /metrics here"))
    return web.Response(body=render().encode(), headers={"Content-Type": CONTENT_TYPE})


def json_answer(value: Any) -> web.Response:
    return web.Response(body=orjson.dumps(value), headers=JSON)
