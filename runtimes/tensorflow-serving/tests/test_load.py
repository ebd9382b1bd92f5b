"""Many requests at once: each gets its own answer, too many are refused, and the end loses none."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import time
from typing import Any

import aiohttp
import grpc
import numpy as np
import pytest

# Some hundred milliseconds, and longer than anybody waits.
SLOW, ENDLESS = (json.dumps({"signature_name": "slow", "inputs": [times]}).encode() for times in (200, 1e7))


async def post(client: aiohttp.ClientSession, server, body: bytes) -> tuple[int, Any]:
    async with client.post(f"{server.url}/v1/models/m:predict", data=body) as answer:
        return answer.status, await answer.json(content_type=None)


def session(connections: int) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections), timeout=aiohttp.ClientTimeout(total=30)
    )


def test_each_of_300_parallel_requests_gets_its_own_answer(text_server, models):
    random = np.random.default_rng(3)
    requests = [random.integers(0, 50, size=(random.integers(1, 4), 4)) for _ in range(300)]

    async def ask_all() -> list[tuple[int, Any]]:
        async with session(60) as client:
            return await asyncio.gather(
                *(post(client, text_server, json.dumps({"instances": rows.tolist()}).encode()) for rows in requests)
            )

    answers = asyncio.run(ask_all())

    expected = np.asarray(models.text.model(np.concatenate(requests)))
    assert {status for status, _ in answers} == {200}
    got = np.concatenate([answer["predictions"] for _, answer in answers])
    np.testing.assert_allclose(got, expected, atol=1e-6, rtol=0)


def test_a_bad_request_among_good_ones_fails_alone(text_server):
    async def ask_all() -> list[tuple[int, Any]]:
        async with session(40) as client:
            bodies = (json.dumps({"instances": [[99 if index % 10 == 0 else 5]]}).encode() for index in range(40))
            return await asyncio.gather(*(post(client, text_server, body) for body in bodies))

    statuses = [status for status, _ in asyncio.run(ask_all())]

    assert statuses == [400 if index % 10 == 0 else 200 for index in range(40)]


def test_small_limits_are_kept_to_with_503_504_and_408(servers, models):
    server = servers.start(
        models.many.base_path, "--max_in_flight=2", "--max_buffered_bytes=1000", "--rest_api_timeout_in_ms=400"
    )

    async def ask_all() -> list[tuple[int, str | None]]:
        async with session(8) as client:

            async def ask() -> tuple[int, str | None]:
                async with client.post(f"{server.url}/v1/models/m:predict", data=SLOW) as answer:
                    return answer.status, answer.headers.get("Retry-After")

            return await asyncio.gather(*(ask() for _ in range(8)))

    answers = asyncio.run(ask_all())
    assert answers.count((503, "1")) == 6
    assert server.metrics()["headrace_requests_in_flight"] == 0

    assert server.predict(b" " * 1001).status == 503
    assert server.predict(b" " * 900).status == 400, "the room is given back"

    assert server.predict(ENDLESS).status == 504
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(b"POST /v1/models/m:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        assert connection.recv(1000).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"POST /v1/models/m:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
        b"POST /v1/models/m:predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"POST /v1/models/m:predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_a_client_that_breaks_off_is_not_a_failure_of_the_model(text_server, request_bytes):
    host, port = text_server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(request_bytes)
        time.sleep(0.1)
    time.sleep(0.2)

    metrics = text_server.metrics()
    failures = [
        f':tensorflow:serving:request_count{{model_name="m",status="{code}"}}' for code in ("INTERNAL", "UNKNOWN")
    ]
    assert [metrics[name] for name in failures] == [0, 0]
    assert metrics["headrace_requests_in_flight"] == 0
    assert text_server.predict({"instances": [[1]]}).status == 200


def test_sigterm_under_load_loses_no_request(servers, models):
    """As in a cluster: clients go on until the endpoint is seen to be unready, some of them a little longer."""
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

    server = servers.start(models.text.base_path, "--quiet_seconds=2")
    body = json.dumps({"instances": [[1, 2, 3]]}).encode()
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "m"
    request.inputs["tokens"].dtype = 3
    request.inputs["tokens"].int_val.extend([1, 2])
    for size in (1, 2):
        request.inputs["tokens"].tensor_shape.dim.add(size=size)
    answers: list[Any] = []
    after_unready: list[Any] = []
    unready = asyncio.Event()

    async def client_loop(ask, linger: float) -> None:
        until = float("inf")
        while time.monotonic() < until:
            is_late = unready.is_set()
            answers.append(await ask())
            after_unready.extend(answers[-1:] * is_late)
            await asyncio.sleep(0.005)
            if unready.is_set() and until == float("inf"):
                until = time.monotonic() + linger

    async def watch(client: aiohttp.ClientSession) -> None:
        while True:
            async with client.get(f"{server.url}/v1/models/m") as answer:
                if answer.status == 503:
                    unready.set()
                    return
            await asyncio.sleep(0.02)

    async def scenario() -> None:
        options = [("grpc.enable_http_proxy", 0)]
        async with session(0) as client, grpc.aio.insecure_channel(server.target, options=options) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)

            async def by_rest() -> int:
                return (await post(client, server, body))[0]

            async def by_grpc() -> int:
                return len((await stub.Predict(request, timeout=10)).outputs) and 200

            loops = [
                asyncio.create_task(client_loop(by_grpc if index % 4 == 0 else by_rest, 0.03 * index))
                for index in range(16)
            ]
            while len(answers) < 100:
                await asyncio.sleep(0.01)
            server.process.send_signal(signal.SIGTERM)
            await asyncio.gather(watch(client), *loops)

    asyncio.run(scenario())

    assert server.process.wait(20) == 0
    assert set(answers) == {200}
    assert after_unready, "some requests must have come after the server said that it is going to end"


def test_sigterm_waits_for_the_requests_in_flight(servers, models):
    server = servers.start(models.many.base_path, "--quiet_seconds=0")

    answers = asyncio.run(_asked_at_the_end(server, SLOW))

    assert [answer[0] for answer in answers] == [200] * 4
    assert server.process.wait(5) == 0


def test_sigterm_waits_for_no_longer_than_the_grace(servers, models):
    server = servers.start(models.many.base_path, "--quiet_seconds=0", "--grace_seconds=0.2")

    answers = asyncio.run(_asked_at_the_end(server, ENDLESS))

    assert server.process.wait(10) == 1
    assert all(isinstance(answer, aiohttp.ClientError) for answer in answers)


async def _asked_at_the_end(server, body: bytes) -> list[Any]:
    """Four answers, or what became of them, to requests that were in flight when the server was told to end."""
    async with session(0) as client:
        asked = [asyncio.create_task(post(client, server, body)) for _ in range(4)]
        while server.metrics()["headrace_requests_in_flight"] < len(asked):
            await asyncio.sleep(0.01)
        server.process.send_signal(signal.SIGTERM)
        return await asyncio.gather(*asked, return_exceptions=True)
