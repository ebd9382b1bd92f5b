"""Many requests at once: each gets its own answer, too many are refused, and the end loses none."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import time
from typing import Any

import aiohttp
import numpy as np
import onnxruntime
import pytest


def body_of(name: str, datatype: str, rows: list[list[Any]]) -> bytes:
    entry = {"name": name, "shape": [len(rows), len(rows[0])], "datatype": datatype, "data": rows}
    return json.dumps({"inputs": [entry]}).encode()


async def post(session: aiohttp.ClientSession, server, body: bytes) -> tuple[int, Any]:
    async with session.post(f"{server.url}/v2/models/m/infer", data=body) as answer:
        return answer.status, await answer.json(content_type=None)


def session(connections: int) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections), timeout=aiohttp.ClientTimeout(total=30)
    )


def test_each_of_500_parallel_requests_gets_its_own_answer(tokens_server, models):
    random = np.random.default_rng(3)
    requests = [
        random.integers(0, 50, size=(random.integers(1, 4), random.integers(1, 6)), dtype=np.int32) for _ in range(500)
    ]
    before = tokens_server.metrics()

    async def ask_all() -> list[tuple[int, Any]]:
        async with session(100) as client:
            return await asyncio.gather(
                *(post(client, tokens_server, body_of("tokens", "INT32", rows.tolist())) for rows in requests)
            )

    answers = asyncio.run(ask_all())

    engine = onnxruntime.InferenceSession(str(models.tokens() / "onnx" / "model.onnx"))
    for tokens, (status, answer) in zip(requests, answers, strict=True):
        assert status == 200
        (output,) = answer["outputs"]
        (alone,) = engine.run(None, {"tokens": tokens})
        np.testing.assert_allclose(np.reshape(output["data"], output["shape"]), alone, rtol=1e-4, atol=1e-6)
    after = tokens_server.metrics()
    runs = after["headrace_batch_rows_count"] - before["headrace_batch_rows_count"]
    assert runs < 400, "requests of one shape must have been computed together"


def test_a_bad_request_among_good_ones_fails_alone(tokens_server):
    async def ask_all() -> list[tuple[int, Any]]:
        async with session(60) as client:
            return await asyncio.gather(
                *(
                    post(client, tokens_server, body_of("tokens", "INT32", [[99 if index % 10 == 0 else 5, 1]]))
                    for index in range(60)
                )
            )

    statuses = [status for status, _ in asyncio.run(ask_all())]

    assert statuses == [400 if index % 10 == 0 else 200 for index in range(60)]


def test_requests_whose_first_dimension_is_time_are_not_computed_together(servers, models):
    server = servers.start(models.time_major())
    engine = onnxruntime.InferenceSession(str(models.time_major() / "onnx" / "model.onnx"))
    random = np.random.default_rng(4)
    requests = [random.standard_normal((3, 2)).astype(np.float32) for _ in range(40)]

    async def ask_all() -> list[tuple[int, Any]]:
        async with session(40) as client:
            return await asyncio.gather(*(post(client, server, body_of("x", "FP32", x.tolist())) for x in requests))

    for x, (status, answer) in zip(requests, asyncio.run(ask_all()), strict=True):
        assert status == 200
        np.testing.assert_allclose(
            np.reshape(answer["outputs"][0]["data"], (3, 3)), engine.run(None, {"x": x})[0], rtol=1e-5, atol=1e-6
        )


def test_more_requests_than_fit_are_refused_with_503_and_when_to_come_back(servers, models):
    server = servers.start(models.slow(), "--max-in-flight", "2", "--max-batch", "1")

    async def ask_all() -> list[tuple[int, str | None]]:
        async with session(8) as client:

            async def ask() -> tuple[int, str | None]:
                url = f"{server.url}/v2/models/m/infer"
                async with client.post(url, data=body_of("x", "FP32", [[1, 2]])) as answer:
                    return answer.status, answer.headers.get("Retry-After")

            return await asyncio.gather(*(ask() for _ in range(8)))

    answers = asyncio.run(ask_all())

    assert (200, None) in answers
    assert (503, "1") in answers
    assert set(answers) == {(200, None), (503, "1")}
    assert server.metrics()["headrace_requests_in_flight"] == 0


def test_more_bytes_than_fit_are_refused_with_503(servers, models):
    server = servers.start(models.affine(), "--max-buffered-bytes", "1000")
    assert server.infer(b" " * 1001).status == 503
    assert server.infer(b" " * 900).status == 400, "the room is given back"


def test_a_request_that_takes_too_long_is_given_up_with_504(servers, models):
    server = servers.start(models.slow(), "--request-timeout", "0.01")
    assert server.infer(body_of("x", "FP32", [[1, 2]])).status == 504


def test_a_body_that_does_not_arrive_is_given_up_with_408(servers, models):
    server = servers.start(models.affine(), "--request-timeout", "0.2")
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(b"POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        assert connection.recv(1000).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
        b"POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_a_client_that_breaks_off_is_not_a_failure_of_the_model(affine_server, request_bytes):
    server = affine_server
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(request_bytes)
        time.sleep(0.1)
    time.sleep(0.2)

    metrics = server.metrics()
    assert sum(value for name, value in metrics.items() if 'requests_total{code="5' in name) == 0
    assert metrics["headrace_requests_in_flight"] == 0
    assert server.infer(body_of("x", "FP32", [[1, 2, 3, 4]])).status == 200


def test_sigterm_under_load_loses_no_request(servers, models):
    """As in a cluster: clients go on until the endpoint is seen to be unready, some of them a little longer."""
    server = servers.start(models.tokens(), "--quiet-seconds", "2")
    body = body_of("tokens", "INT32", [[1, 2, 3]])
    statuses: list[int] = []
    after_unready: list[int] = []
    unready = asyncio.Event()

    async def client_loop(client: aiohttp.ClientSession, linger: float) -> None:
        until = float("inf")
        while time.monotonic() < until:
            is_late = unready.is_set()
            statuses.append((await post(client, server, body))[0])
            after_unready.extend([statuses[-1]] * is_late)
            await asyncio.sleep(0.005)
            if unready.is_set() and until == float("inf"):
                until = time.monotonic() + linger

    async def watch(client: aiohttp.ClientSession) -> None:
        while True:
            async with client.get(f"{server.url}/v2/health/ready") as answer:
                if answer.status == 503:
                    unready.set()
                    return
            await asyncio.sleep(0.02)

    async def scenario() -> None:
        async with session(0) as client:
            loops = [asyncio.create_task(client_loop(client, 0.02 * index)) for index in range(16)]
            while len(statuses) < 100:
                await asyncio.sleep(0.01)
            server.process.send_signal(signal.SIGTERM)
            await asyncio.gather(watch(client), *loops)

    asyncio.run(scenario())

    assert server.process.wait(20) == 0
    assert set(statuses) == {200}
    assert after_unready, "some requests must have come after the server said that it is going to end"


def test_sigterm_waits_for_the_request_in_flight_and_not_for_longer_than_the_grace(servers, models):
    slow, endless = (
        servers.start(models.slow(), "--max-batch", "1", "--quiet-seconds", "0", *flags)
        for flags in ((), ("--grace-seconds", "0.2"))
    )

    async def scenario(server, number: int) -> list[Any]:
        async with session(0) as client:
            asked = [asyncio.create_task(post(client, server, body_of("x", "FP32", [[1, 2]]))) for _ in range(number)]
            while server.metrics()["headrace_requests_in_flight"] < number:
                await asyncio.sleep(0.01)
            server.process.send_signal(signal.SIGTERM)
            return await asyncio.gather(*asked, return_exceptions=True)

    assert [answer[0] for answer in asyncio.run(scenario(slow, 4))] == [200] * 4
    assert slow.process.wait(5) == 0

    answers = asyncio.run(scenario(endless, 400))
    assert endless.process.wait(5) == 1
    assert any(isinstance(answer, aiohttp.ClientError) for answer in answers)
