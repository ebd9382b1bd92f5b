"""gRPC of any server: errors have its codes, and connections an end that costs no request."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest
from serving_support import PATIENCE_SECONDS, free_ports

from headrace_serving import rpc
from headrace_serving.arrivals import Arrivals
from headrace_serving.failures import Reason, RequestError, StartError

Ask = Callable[[bytes], Awaitable[bytes]]


def served(method: rpc.Method, scenario: Callable[[Ask], Awaitable[Any]]) -> Any:
    """What comes of asking, by one channel, a server with that one method."""

    async def main() -> Any:
        server = rpc.server(max_message_bytes=1000, grace_seconds=1, request_seconds=60)
        arrivals = Arrivals(max_message_bytes=1000, max_buffered_bytes=4000, seconds=60, flag="--x")
        server.add_generic_rpc_handlers((rpc.service("S", {"M": rpc.unary(method, arrivals.message, rpc.status_of)}),))
        (port,) = free_ports(1)
        await rpc.start(server, "127.0.0.1", port, "")
        options = [("grpc.enable_http_proxy", 0)]
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
                call = channel.unary_unary("/S/M")
                return await scenario(lambda message: call(message, timeout=PATIENCE_SECONDS))
        finally:
            await server.stop(0)

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("status", "code", "pushback"),
    [
        (400, grpc.StatusCode.INVALID_ARGUMENT, False),
        (404, grpc.StatusCode.NOT_FOUND, False),
        (429, grpc.StatusCode.RESOURCE_EXHAUSTED, True),
        (500, grpc.StatusCode.INTERNAL, False),
        (503, grpc.StatusCode.UNAVAILABLE, True),
        (504, grpc.StatusCode.DEADLINE_EXCEEDED, False),
    ],
)
def test_an_error_has_grpcs_code_its_own_words_and_when_to_come_back(status, code, pushback):
    async def method(message: bytes, _context: Any) -> bytes:
        raise RequestError(status, message.decode(errors="surrogateescape") + " wörds\n")

    async def asked(ask: Ask) -> grpc.aio.AioRpcError:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ask(b"half a pair: \xff")
        return caught.value

    error = served(method, asked)

    assert (error.code(), error.details()) == (code, "half a pair: ? wörds\n")
    assert ("grpc-retry-pushback-ms" in dict(error.trailing_metadata())) is pushback


def test_what_nobody_expected_is_internal_and_says_nothing_of_itself(caplog):
    async def method(_message: bytes, _context: Any) -> bytes:
        raise ValueError("s3cret")

    async def asked(ask: Ask) -> grpc.aio.AioRpcError:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ask(b"")
        return caught.value

    error = served(method, asked)

    assert (error.code(), error.details()) == (
        grpc.StatusCode.INTERNAL,
        "internal error; the server's log says more",
    )
    assert "s3cret" in caplog.text


def test_a_client_is_moved_to_another_connection_and_loses_no_request():
    async def method(_message: bytes, context: Any) -> bytes:
        await asyncio.sleep(0.01)
        return context.peer().encode()

    async def asked(ask: Ask) -> set[bytes]:
        peers: set[bytes] = set()

        async def client() -> None:
            while len(peers) < 3:
                assert time.monotonic() < deadline
                peers.add(await ask(b""))

        deadline = time.monotonic() + PATIENCE_SECONDS
        await asyncio.gather(*(client() for _ in range(8)))
        return peers

    assert len(served(method, asked)) == 3


def test_a_port_that_is_taken_is_told_with_the_flag():
    async def main(port: int) -> None:
        server = rpc.server(max_message_bytes=1000, grace_seconds=1, request_seconds=5)
        await rpc.start(server, "127.0.0.1", port, "Choose another --x.")

    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(StartError) as caught:
        asyncio.run(main(taken.getsockname()[1]))
    assert (caught.value.reason, caught.value.hint) == (Reason.ADDRESS_IN_USE, "Choose another --x.")


def test_a_connection_more_than_there_may_be_is_closed():
    async def first_byte(port: int) -> tuple[bytes, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
            return await reader.read(1), writer
        except ConnectionError:
            return b"", writer

    async def main() -> list[bytes]:
        server = rpc.server(max_message_bytes=1000, grace_seconds=100, request_seconds=5)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        connections = []
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                for _ in range(rpc.CONNECTIONS + 1):
                    connections.append(await first_byte(port))
        finally:
            for _, writer in connections:
                writer.close()
            await server.stop(0)
        return [byte for byte, _ in connections]

    *taken, refused = asyncio.run(main())

    assert all(taken)
    assert refused == b""
