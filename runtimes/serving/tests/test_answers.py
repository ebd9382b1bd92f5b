"""Answers over HTTP on loopback, of a server with nothing behind it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import aiohttp
import pytest
from aiohttp import web
from serving_support import free_ports

from headrace_serving import lifecycle
from headrace_serving.answers import JSON, Handler, answered
from headrace_serving.failures import MethodNotAllowedError, Reason, RequestError, StartError
from headrace_serving.gate import Gate


async def good(_request: web.BaseRequest) -> web.Response:
    return web.Response(body=b"{}", headers=JSON)


def failing(error: Exception) -> Handler:
    async def fail(_request: web.BaseRequest) -> web.Response:
        raise error

    return fail


def answer_of(handler: Handler, *, is_draining: bool = False) -> SimpleNamespace:
    gate = Gate(max_in_flight=1)
    gate.is_draining = is_draining
    (port,) = free_ports(1)

    async def asked() -> SimpleNamespace:
        listener = await lifecycle.listen(lambda request: answered(request, handler, gate), "127.0.0.1", port, "")
        try:
            async with aiohttp.ClientSession() as client, client.get(f"http://127.0.0.1:{port}/x?y") as answer:
                return SimpleNamespace(status=answer.status, headers=answer.headers, json=await answer.json())
        finally:
            await listener.cleanup()

    return asyncio.run(asked())


def test_a_good_answer_keeps_its_connection_until_the_server_drains():
    assert answer_of(good).headers.get("Connection") != "close"
    assert answer_of(good, is_draining=True).headers["Connection"] == "close"


@pytest.mark.parametrize("status", [400, 404, 408, 413, 415, 503, 504])
def test_an_error_is_json_and_says_when_to_come_back_or_go(status):
    answer = answer_of(failing(RequestError(status, "no \ud800")))

    assert (answer.status, answer.json) == (status, {"error": "no ?"})
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers.get("Retry-After") == ("1" if status == 503 else None)
    assert (answer.headers.get("Connection") == "close") == (status in (408, 413))


def test_a_method_that_a_path_does_not_have_is_refused_with_those_that_it_has():
    answer = answer_of(failing(MethodNotAllowedError("PUT", ("GET", "HEAD"))))
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")


def test_what_nobody_expected_is_a_500_without_details_and_in_the_log(caplog):
    answer = answer_of(failing(KeyError("secret")))
    assert (answer.status, answer.json) == (500, {"error": "internal error; the server's log says more"})
    assert "GET /x failed" in caplog.text
    assert "secret" in caplog.text


def test_a_port_in_use_is_a_failed_start_with_the_hint():
    (port,) = free_ports(1)

    async def twice() -> None:
        first = await lifecycle.listen(good, "127.0.0.1", port, "")
        try:
            await lifecycle.listen(good, "127.0.0.1", port, "Choose another.")
        finally:
            await first.cleanup()

    with pytest.raises(StartError) as caught:
        asyncio.run(twice())
    assert (caught.value.reason, caught.value.hint) == (Reason.ADDRESS_IN_USE, "Choose another.")
