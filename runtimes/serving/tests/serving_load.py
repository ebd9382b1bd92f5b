"""Many requests at once, clients that break off, and the end under load: asked of any server in the same way."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import aiohttp
from serving_support import PATIENCE_SECONDS, Server

Answer = tuple[int, Any]


def session(connections: int, *traces: aiohttp.TraceConfig) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections),
        timeout=aiohttp.ClientTimeout(total=PATIENCE_SECONDS),
        trace_configs=list(traces),
    )


async def post(client: aiohttp.ClientSession, server: Server, body: bytes) -> Answer:
    async with client.post(server.url + server.prediction_path, data=body) as answer:
        return answer.status, await answer.json(content_type=None)


def ask_all(server: Server, bodies: Iterable[bytes], connections: int) -> list[Answer]:
    """Status and JSON for each body, all of them asked at once over so many connections."""

    async def asked() -> list[Answer]:
        async with session(connections) as client:
            return await asyncio.gather(*(post(client, server, body) for body in bodies))

    return asyncio.run(asked())


def ask_together(server: Server, bodies: Iterable[bytes], connections: int) -> list[Answer]:
    """As `ask_all`; the server does not see one of them before there is one on each connection."""

    async def asked() -> list[Answer]:
        with held_up(server) as go_on:
            async with session(connections, _when_sent(connections, go_on)) as client:
                return await asyncio.gather(*(post(client, server, body) for body in bodies))

    return asyncio.run(asked())


def ask_too_much(server: Server, body: bytes, times: int) -> list[tuple[int, str | None]]:
    """Status and Retry-After of the same request, so many times at once: the server sees none of them alone."""

    async def ask(client: aiohttp.ClientSession) -> tuple[int, str | None]:
        async with client.post(server.url + server.prediction_path, data=body) as answer:
            return answer.status, answer.headers.get("Retry-After")

    async def asked() -> list[tuple[int, str | None]]:
        with held_up(server) as go_on:
            async with session(times, _when_sent(times, go_on)) as client:
                return await asyncio.gather(*(ask(client) for _ in range(times)))

    return asyncio.run(asked())


@contextmanager
def held_up(server: Server) -> Iterator[Callable[[], None]]:
    """The server does nothing, until what this gives is called or the block ends: what is sent meanwhile comes at
    once, however slowly it is sent.
    """

    def go_on() -> None:
        server.process.send_signal(signal.SIGCONT)

    server.process.send_signal(signal.SIGSTOP)
    try:
        yield go_on
    finally:
        go_on()


def _when_sent(number: int, call: Callable[[], None]) -> aiohttp.TraceConfig:
    """Call it when so many bodies of requests are sent, each in one piece."""
    sent = 0

    async def count(*_: Any) -> None:
        nonlocal sent
        sent += 1
        if sent == number:
            asyncio.get_running_loop().call_soon(call)

    trace = aiohttp.TraceConfig()
    trace.on_request_chunk_sent.append(count)
    return trace


def answer_to_a_body_that_does_not_arrive(server: Server) -> bytes:
    with socket.create_connection(server.address, timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(_head(server, "Content-Length: 100") + b"{")
        return connection.recv(1000)


@contextmanager
def slow_senders(server: Server, number: int, *, sent: bytes, length: int) -> Iterator[list[socket.socket]]:
    """Clients whose bodies do not come to an end."""
    with ExitStack() as stack:
        clients = [
            stack.enter_context(socket.create_connection(server.address, timeout=PATIENCE_SECONDS))
            for _ in range(number)
        ]
        for client in clients:
            client.sendall(_head(server, f"Content-Length: {length}") + sent)
        time.sleep(0.3)
        yield clients


def wait_for_metric(server: Server, name: str, value: float) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (found := server.metrics()[name]) != value:
        assert time.monotonic() < deadline, f"{name} is {found}, not {value}"
        time.sleep(0.05)


def break_off(server: Server, framing: str, sent: bytes) -> None:
    """As a client that goes away before its body is complete, or that frames it wrongly."""
    with socket.create_connection(server.address, timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(_head(server, framing) + sent)
        time.sleep(0.1)
    time.sleep(0.2)


def _head(server: Server, framing: str) -> bytes:
    return f"POST {server.prediction_path} HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n".encode()


BROKEN_OFF = (
    ("Content-Length: 100", b"{"),
    ("Transfer-Encoding: chunked", b"5\r\nab"),
    ("Transfer-Encoding: chunked", b"zz\r\n"),
)


async def end_under_load(
    server: Server, client: aiohttp.ClientSession, asks: Sequence[Callable[[], Awaitable[int]]], linger_seconds: float
) -> tuple[list[int], list[int]]:
    """SIGTERM while each of `asks` is called in a loop: all statuses, and those asked for after it was unready.

    As in a cluster: clients go on until the endpoint is seen to be unready, each of them a little longer than the one
    before.
    """
    statuses: list[int] = []
    after_unready: list[int] = []
    unready = asyncio.Event()

    async def client_loop(ask: Callable[[], Awaitable[int]], linger: float) -> None:
        until = float("inf")
        while time.monotonic() < until:
            is_late = unready.is_set()
            statuses.append(await ask())
            after_unready.extend(statuses[-1:] * is_late)
            await asyncio.sleep(0.005)
            if unready.is_set() and until == float("inf"):
                until = time.monotonic() + linger

    async def watch() -> None:
        while True:
            async with client.get(server.url + server.ready_path) as answer:
                if answer.status == 503:
                    unready.set()
                    return
            await asyncio.sleep(0.02)

    loops = [asyncio.create_task(client_loop(ask, linger_seconds * index)) for index, ask in enumerate(asks)]
    while len(statuses) < 100:
        await asyncio.sleep(0.01)
    server.process.send_signal(signal.SIGTERM)
    await asyncio.gather(watch(), *loops)
    return statuses, after_unready


def ask_at_the_end(server: Server, body: bytes, times: int, in_flight: int) -> list[Any]:
    """Answers, or what became of them, to requests of which so many were in flight when the server was told to end."""

    async def asked() -> list[Any]:
        async with session(0) as client:
            tasks = [asyncio.create_task(post(client, server, body)) for _ in range(times)]
            # In a thread: the requests go on meanwhile.
            while (await asyncio.to_thread(server.metrics))["headrace_requests_in_flight"] < in_flight:
                assert not all(task.done() for task in tasks), "the requests are answered too fast for this test"
                await asyncio.sleep(0.01)
            server.process.send_signal(signal.SIGTERM)
            return await asyncio.gather(*tasks, return_exceptions=True)

    return asyncio.run(asked())
