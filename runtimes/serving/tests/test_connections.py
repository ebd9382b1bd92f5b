"""What is refused before it is a request: always as JSON, without a byte of it, and in time. Over real sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvloop
from aiohttp import web
from serving_support import PATIENCE_SECONDS, free_ports

from headrace_serving import bodies, connections, lifecycle
from headrace_serving.answers import JSON, answered
from headrace_serving.bodies import Bounds
from headrace_serving.buffers import Buffers
from headrace_serving.gate import Gate

SECRET = b"S3CRET"
HOST = b"Host: x\r\n"
BOUNDS = Bounds(max_bytes=100_000, bytes_flag="--bytes", seconds=PATIENCE_SECONDS, seconds_flag="--seconds")

Client = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[Any]]


async def echo(request: web.BaseRequest) -> web.Response:
    """The body's length, and that of the header X."""
    with Buffers(1_000_000).share() as share:
        body = await bodies.read(request, share, BOUNDS)
    return web.Response(body=json.dumps([len(body), len(request.headers.get("X", ""))]).encode(), headers=JSON)


async def turns() -> None:
    """As many of the event loop, which is the server's too, as it needs for what it was sent; not so many seconds."""
    for _ in range(10):
        await asyncio.sleep(0.005)


def served(client: Client) -> Any:
    """What `client` gives, connected to a server."""
    gate = Gate(max_in_flight=1)
    (port,) = free_ports(1)

    async def scenario() -> Any:
        runner = await lifecycle.listen(lambda request: answered(request, echo, gate), "127.0.0.1", port, "")
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                return await asyncio.wait_for(client(reader, writer), PATIENCE_SECONDS)
            finally:
                writer.close()
        finally:
            await runner.cleanup()

    return uvloop.run(scenario())


def sending(*parts: bytes) -> Client:
    """Send the parts one after the other, and give all that comes back until the server ends the connection."""

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await turns()
        return await reader.read()

    return client


def answers(received: bytes) -> list[tuple[int, Any]]:
    """Status and JSON of each answer on a connection."""
    found = []
    while received:
        head, _, rest = received.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        headers = dict(line.lower().split(b": ", 1) for line in lines[1:])
        assert headers[b"content-type"] == b"application/json"
        length = int(headers[b"content-length"])
        found.append((int(lines[0].split()[1]), json.loads(rest[:length])))
        received = rest[length:]
    return found


POST = b"POST / HTTP/1.1\r\n" + HOST
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
REFUSED = {
    "no request line": (400, b"S3CRET\r\n\r\n"),
    "binary": (400, b"\x00\x01\x02S3CRET" * 100),
    "TLS": (400, b"\x16\x03\x01\x02\x00\x01S3CRET"),
    "HTTP/2": (400, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "method": (400, b"S3CRET / HTTP/1.1\r\n" + HOST + b"\r\n"),
    "version": (400, b"GET / HTTP/S3CRET\r\n" + HOST + b"\r\n"),
    "URL": (400, b"GET http:///S3CRET HTTP/1.1\r\n" + HOST + b"\r\n"),
    "long URL": (414, b"GET /" + SECRET * 2000 + b" HTTP/1.1\r\n" + HOST + b"\r\n"),
    "no Host": (400, b"GET / HTTP/1.1\r\nX: S3CRET\r\n\r\n"),
    "two Hosts": (400, b"GET / HTTP/1.1\r\n" + HOST + b"Host: S3CRET\r\n\r\n"),
    "NUL": (400, b"GET / HTTP/1.1\r\n" + HOST + b"X: S3CRET\x00S3CRET\r\n\r\n"),
    "no colon": (400, b"GET / HTTP/1.1\r\n" + HOST + b"S3CRET\r\n\r\n"),
    "a folded line": (400, b"GET / HTTP/1.1\r\n" + HOST + b" S3CRET\r\n\r\n"),
    "an old websocket": (400, b"GET / HTTP/1.1\r\n" + HOST + b"Sec-WebSocket-Key1: S3CRET\r\n\r\n"),
    "many headers": (431, b"GET / HTTP/1.1\r\n" + HOST + b"X: S3CRET\r\n" * 200 + b"\r\n"),
    "long header": (431, b"GET / HTTP/1.1\r\n" + HOST + b"Authorization: Bearer " + SECRET * 11_000 + b"\r\n\r\n"),
    "long name": (431, b"GET / HTTP/1.1\r\n" + HOST + SECRET * 11_000 + b": x\r\n\r\n"),
    "lengths": (400, POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcS3CRET"),
    "length": (400, POST + b"Content-Length: S3CRET\r\n\r\nabc"),
    "negative length": (400, POST + b"Content-Length: -3\r\n\r\nabcS3CRET"),
    "length and chunks": (400, POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nS3CRET"),
    "encoding": (400, POST + b"Transfer-Encoding: S3CRET\r\n\r\nabc"),
    "chunk size": (400, CHUNKED + b"S3CRET\r\n"),
    "chunk end": (400, CHUNKED + b"3\r\nabcS3CRET"),
    "trailer": (400, CHUNKED + b"0\r\nS3CRET\r\n\r\n"),
}


@pytest.mark.parametrize(("status", "sent"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("piece", [7000, 1_000_000], ids=["in pieces", "at once"])
def test_what_is_no_request_is_refused_as_json_without_a_byte_of_it(status, sent, piece, caplog):
    received = served(sending(*(sent[start : start + piece] for start in range(0, len(sent), piece))))

    ((got, content),) = answers(received)
    assert (got, set(content)) == (status, {"error"})
    assert SECRET not in received
    assert SECRET.decode() not in caplog.text


@pytest.mark.parametrize("sent", [b"zz S3CRET\r\n", b"3\r\nabcS3CRET"])
def test_a_body_that_goes_wrong_under_way_is_answered_once_and_at_once(sent, caplog):
    received = served(sending(CHUNKED + b"1\r\na\r\n", sent))

    assert answers(received) == [(400, {"error": "the body is not what its headers say"})]
    assert "S3CRET" not in caplog.text


def test_good_requests_before_one_that_is_none_are_answered():
    good = POST + b"Content-Length: 3\r\n\r\nabc"

    received = served(sending(good, good, b"S3CRET\r\n\r\n", good))

    assert answers(received) == [(200, [3, 0]), (200, [3, 0]), (400, {"error": "the request line is not HTTP"})]


@pytest.mark.parametrize("size", [8_000, 9_000, 64 * 1024 - 1])
def test_a_header_of_up_to_64_kilobytes_with_its_name_is_taken(size):
    received = served(sending(b"GET / HTTP/1.1\r\nConnection: close\r\n" + HOST + b"X:" + b"x" * size + b"\r\n\r\n"))
    assert answers(received) == [(200, [0, size])]


def test_headers_that_are_each_short_enough_and_together_too_long_are_refused():
    line = b"X: " + b"x" * 60_000 + b"\r\n"
    ((status, content),) = answers(served(sending(b"GET / HTTP/1.1\r\n" + HOST, line, line, line, line)))
    assert (status, content) == (431, {"error": "the headers have more than 131072 bytes"})


def test_headers_that_come_in_pieces_share_a_bound_with_those_of_others(monkeypatch):
    monkeypatch.setattr(connections, "MAX_PARTIAL_HEADS_BYTES", 1000)
    piece = b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"x" * 600

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> list[int]:
        _, other = await asyncio.open_connection(*writer.get_extra_info("peername"))
        other.write(piece)
        await turns()
        writer.write(piece + b"\r\nConnection: close\r\n\r\n")
        whole = await reader.read()
        reader, writer = await asyncio.open_connection(*other.get_extra_info("peername"))
        writer.write(piece)
        pieces = await reader.read()
        other.close()
        await turns()
        reader, writer = await asyncio.open_connection(*other.get_extra_info("peername"))
        writer.write(piece)
        await turns()
        writer.write(b"\r\nConnection: close\r\n\r\n")
        return [status for received in (whole, pieces, await reader.read()) for status, _ in answers(received)]

    assert served(client) == [200, 503, 200]


def test_a_client_that_sends_on_reads_why_it_is_refused():
    """The connection is not reset under the answer."""
    received = served(sending(*[b"GET / HTTP/1.1\r\nX: " + b"x" * 500_000] * 4))
    assert answers(received)[0][0] == 431


@pytest.fixture
def _short_time(monkeypatch):
    monkeypatch.setattr(connections, "HEAD_SECONDS", 2)


@pytest.mark.usefixtures("_short_time")
@pytest.mark.parametrize("before", [b"", POST + b"Content-Length: 1\r\n\r\nx"], ids=["first", "later"])
def test_headers_that_do_not_end_are_given_up_with_408(before):
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(before + b"GET / HTTP/1.1\r\n")
        reading = asyncio.ensure_future(reader.read())
        while not reading.done():
            writer.write(b"X: y\r\n")
            await turns()
        return await reading

    received = served(client)
    assert answers(received)[-1] == (408, {"error": "the headers did not arrive within 2 s"})


@pytest.mark.usefixtures("_short_time")
def test_a_connection_without_a_byte_is_closed_and_one_that_has_asked_is_kept():
    assert served(sending()) == b""

    async def asks_twice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
        await asyncio.sleep(2.5)
        writer.write(b"GET / HTTP/1.1\r\nConnection: close\r\n" + HOST + b"\r\n")
        return await reader.read()

    assert [status for status, _ in answers(served(asks_twice))] == [200, 200]


def test_a_connection_that_has_asked_is_closed_when_it_is_idle_for_too_long(monkeypatch):
    monkeypatch.setattr(connections, "KEEPALIVE_SECONDS", 0.3)
    assert answers(served(sending(POST + b"Content-Length: 1\r\n\r\nx"))) == [(200, [1, 0])]


@pytest.mark.usefixtures("_short_time")
def test_a_body_may_take_longer_than_headers():
    received = served(sending(POST + b"Connection: close\r\nContent-Length: 60\r\n\r\n", *[b"x"] * 60))
    assert answers(received) == [(200, [60, 0])]
